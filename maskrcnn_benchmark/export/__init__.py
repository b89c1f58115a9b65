"""The model outside Python: what is exported, how, and proof that it gives the same."""
