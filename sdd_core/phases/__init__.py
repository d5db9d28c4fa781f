"""The phases of one curve of test accuracy, and tests of changes against chance."""
