"""Ctrl-C and SIGTERM as a wish to stop at the next good moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

# One Ctrl-C comes twice under torchrun: from the terminal, and passed on by the launcher.
_ONE_WISH_S = 1.0


class Interrupt:
    """While active, the first SIGINT or SIGTERM only sets `requested`; a later one stops at once.

    Loader workers that are forked meanwhile ignore the signal: they end with their parent.

    Attributes:
        requested: whether somebody wants it to stop.
    """

    def __init__(self, before: str) -> None:
        """Start without a request; `with` makes it listen.

        Args:
            before: what is done before it stops, for the message: "finishing this iteration".
        """
        self.requested = False
        self._before = before
        self._requested_at = 0.0
        self._owner = os.getpid()
        self._previous: dict[int, Any] = {}

    def check(self, text: str = "") -> None:
        """Stop here if that is wanted.

        Raises:
            KeyboardInterrupt: then, with `text`: what is kept, and how to go on.
        """
        if self.requested:
            raise KeyboardInterrupt(text)

    def __enter__(self) -> Interrupt:
        self._owner = os.getpid()
        # Python lets only the main thread handle signals; elsewhere they act as they always do.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            # None: it was not set from Python, and cannot be set again from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return
        now = time.monotonic()
        if self.requested:
            if now - self._requested_at < _ONE_WISH_S:
                return
            self._restore()
            raise KeyboardInterrupt
        self.requested = True
        self._requested_at = now
        if os.environ.get("RANK", "0") == "0":
            # Not through the log: its lock may be held by the code this handler interrupts.
            name = signal.Signals(number).name
            text = f"\n{name}: {self._before}; once more to stop at once.\n"
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, text.encode())
