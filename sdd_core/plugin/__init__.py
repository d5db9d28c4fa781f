"""Plugins: the kinds, their hooks, discovery through entry points, checks and isolation."""
