"""The tools of this app: one per file, found by name at start."""
