"""Stores of one user's rows and keys; `DataAccessFactory` hands them out, bound to that user for good."""
