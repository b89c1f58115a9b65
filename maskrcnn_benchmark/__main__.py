"""`python -m maskrcnn_benchmark` is the command `maskrcnn`."""

from __future__ import annotations

from maskrcnn_benchmark.cli import main

if __name__ == "__main__":
    main()
