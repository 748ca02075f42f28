"""Who does it: one folder per technology, the same file names in each."""
