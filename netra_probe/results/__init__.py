"""What a run leaves: results.json and run directories, read, compared, scanned, bundled, pruned, stored elsewhere."""
