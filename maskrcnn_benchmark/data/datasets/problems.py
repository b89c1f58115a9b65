"""What is wrong with an annotation file: gathered, then raised or counted."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from maskrcnn_benchmark.errors import DatasetError

OnError = Literal["stop", "skip"]

_MOST_LISTED = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: the same few words for the same mistake, to count it by.
        text: which annotation or image, what was expected and what came.
        remedy: what is done about it where the run does not stop.
    """

    kind: str
    text: str
    remedy: Literal["left out", "clipped"] = "left out"


@dataclass
class ProblemList:
    """The problems of one file.

    Attributes:
        path: the file.
        on_error: "stop" raises all of them together, "skip" logs one line with their numbers.
    """

    path: str
    on_error: OnError
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _texts: list[str] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Note one more problem."""
        self.counts[problem.remedy, problem.kind] += 1
        if len(self._texts) < _MOST_LISTED:
            self._texts.append(problem.text)

    @property
    def total(self) -> int:
        """Number of problems."""
        return sum(self.counts.values())

    def conclude(self) -> None:
        """Raise or log what was gathered, if anything.

        Raises:
            DatasetError: if there are problems and they are not to be skipped.
        """
        if not self.total:
            return
        if self.on_error == "skip":
            logger.warning("%s: %s; first: %s", self.path, self._summary(), self._texts[0])
            return
        advice = (
            "Correct the file, or set DATALOADER.ON_ERROR to 'skip' (on_error='skip') to go on "
            "without these"
        )
        if self.total == 1:
            raise DatasetError(f"{self.path}: {self._texts[0]}. {advice}.")
        listed = "".join(f"\n  {text}" for text in self._texts)
        hidden = self.total - len(self._texts)
        more = f"\n  and {hidden} more" if hidden else ""
        raise DatasetError(f"{self.path}: {self.total} problems:{listed}{more}\n{advice}.")

    def _summary(self) -> str:
        return "; ".join(
            f"{number} {kind}: {remedy}" for (remedy, kind), number in self.counts.most_common()
        )
