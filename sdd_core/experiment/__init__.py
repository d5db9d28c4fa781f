"""The experiment, which decides a result, its settings, and the keys of its levels."""
