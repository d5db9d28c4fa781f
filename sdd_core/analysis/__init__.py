"""Analysis of results over seeds: means, comparisons, findings, a recommended sparsity."""
