"""Networks and data of the user's own: named in a file, or handed over in Python."""
