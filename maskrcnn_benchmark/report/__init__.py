"""What a human looks at: curves and pictures of a run."""
