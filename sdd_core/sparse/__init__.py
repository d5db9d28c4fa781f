"""Sparse kernels: networks of known layers, trained at a cost that falls with their density.

Nothing is imported here: `costs` needs no numba, and those who read costs need not have one.
"""
