"""Loops over batches: training and testing."""
