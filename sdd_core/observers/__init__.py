"""Observers of a run: progress on a terminal or in a notebook, and trackers."""
