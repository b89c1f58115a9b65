"""Weights on disk: written whole or not at all, read without running code, matched by name."""
