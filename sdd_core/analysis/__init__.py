"""What results over seeds say: means, comparisons, findings, a recommended sparsity."""
