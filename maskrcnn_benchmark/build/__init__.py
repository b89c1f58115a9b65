"""From the words of a config to objects: the only place that knows both sides."""
