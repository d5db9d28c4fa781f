"""Scores to masks: how many weights of each layer are pruned, and which."""
