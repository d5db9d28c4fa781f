"""Files: checked when they are read, written atomically."""
