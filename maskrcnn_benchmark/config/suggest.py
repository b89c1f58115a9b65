"""The nearest valid name to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> str:
    """Return "; did you mean X?" for the most similar of the names, or nothing.

    Args:
        name: what does not exist; upper and lower case do not matter.
        names: what does.
        count: suggest up to so many.
        cutoff: how similar they must be, from 0 (anything) to 1 (equal).
    """
    by_upper = {other.upper(): other for other in names}
    found = difflib.get_close_matches(name.upper(), by_upper, n=count, cutoff=cutoff)
    return f"; did you mean {' or '.join(by_upper[key] for key in found)}?" if found else ""
