"""A window on the screen that shows one picture after another."""

from __future__ import annotations

from typing import Any

from PIL import Image

from maskrcnn_benchmark.errors import MaskRCNNError

# Part of the screen that a picture may fill.
_MOST_OF_SCREEN = 0.9


class Window:
    """Opens with the first picture; the user ends it by closing it, or by Escape or q."""

    def __init__(self, title: str = "maskrcnn") -> None:
        """Prepare; nothing is shown yet."""
        self._title = title
        self._root: Any = None
        self._label: Any = None
        self._photo: Any = None
        self.is_closed = False

    def show(self, picture: Image.Image, name: str) -> bool:
        """Show a picture; False once the user has closed the window.

        Raises:
            MaskRCNNError: without a screen, or without Tk.
        """
        if self.is_closed:
            return False
        if self._root is None:
            self._open()
        from PIL import ImageTk

        room = (
            int(self._root.winfo_screenwidth() * _MOST_OF_SCREEN),
            int(self._root.winfo_screenheight() * _MOST_OF_SCREEN),
        )
        shown = picture.copy()
        shown.thumbnail(room)
        self._photo = ImageTk.PhotoImage(shown, master=self._root)  # Tk keeps no reference.
        self._label.configure(image=self._photo)
        self._root.title(f"{name} - {self._title}")
        self._root.update()
        return not self.is_closed

    def wait(self) -> None:
        """Leave the last picture until the user closes the window."""
        if self._root is not None and not self.is_closed:
            self._root.mainloop()

    def _open(self) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise MaskRCNNError(
                "showing pictures needs Tk, which this Python lacks (Debian: apt install python3-tk); leave out --show"
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise MaskRCNNError(
                f"there is no screen to show pictures on: {error}. Leave out --show and look at the files"
            ) from error
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self._close())

    def _close(self) -> None:
        self.is_closed = True
        self._root.destroy()
