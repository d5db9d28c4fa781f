"""The phases of one curve of test accuracy, and how large a change is more than chance."""
