"""What users see: text that is shown as it is, short reprs, notices, tables on a terminal."""
