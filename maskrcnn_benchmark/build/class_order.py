"""Whether two sides mean the same by a label: a checkpoint and a data set, or the sets to train and to test on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from maskrcnn_benchmark.errors import DatasetError

logger = logging.getLogger("maskrcnn_benchmark")


def check_class_order(
    known: Sequence[str] | None, found: Sequence[str] | None, *, source: str, dataset: str
) -> None:
    """Compare names by label; what only one side has is left to the checks of the number of classes.

    Args:
        known: name of each label, background first; None where it is not known.
        found: likewise, of the data set.
        source: what `known` is of, for messages.
        dataset: what `found` is of, for messages.

    Raises:
        DatasetError: if both have the same classes in another order: each would be taken for another one. Other
            differences are a warning: a class may have got a new name.
    """
    pairs = list(zip((known or ())[1:], (found or ())[1:], strict=False))
    differing = [label for label, (one, other) in enumerate(pairs, start=1) if one != other]
    if not differing:
        return
    label = differing[0]
    one, other = pairs[label - 1]
    text = f"label {label} is {one!r} in {source}, but {other!r} in {dataset}"
    if sorted(one for one, _ in pairs) == sorted(other for _, other in pairs):
        raise DatasetError(
            f"{text}: the same classes in another order, so that each would be taken for another one. Bring the list "
            f"'categories' of the annotation file into the order {', '.join(one for one, _ in pairs)}"
        )
    logger.warning("%s (%d of %d names differ)", text, len(differing), len(pairs))
