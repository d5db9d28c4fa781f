"""What is on disk: the store of levels, run folders, records and results."""
