"""How fast, side by side: what `maskrcnn bench` measures."""
