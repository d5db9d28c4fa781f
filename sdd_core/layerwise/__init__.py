"""Sensitivity: what pruning one layer alone does to a network, without training."""
