"""The REST interface: crawled, tried with other users' ids, cached, compared."""
