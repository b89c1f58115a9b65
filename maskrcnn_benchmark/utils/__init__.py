"""Leaf helpers: files, logs, processes, timers. They import nothing of ours but the errors."""
