"""Who listens to a run: progress on a terminal or in a notebook, trackers."""
