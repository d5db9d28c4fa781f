"""What decides a result: the experiment, its settings, and the keys of its levels."""
