from __future__ import annotations

import pytest
from PIL import Image

from maskrcnn_benchmark.errors import MaskRCNNError
from maskrcnn_benchmark.predict.window import Window


def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    window = Window()
    window.wait()
    with pytest.raises(MaskRCNNError, match=r"no screen to show pictures on.*Leave out --show"):
        window.show(Image.new("RGB", (4, 4)), "a")
