"""The nearest valid name to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean X?" for the most similar of the names, or nothing."""
    by_upper = {other.upper(): other for other in names}
    found = difflib.get_close_matches(name.upper(), by_upper, n=1, cutoff=0.6)
    return f"; did you mean {by_upper[found[0]]}?" if found else ""
