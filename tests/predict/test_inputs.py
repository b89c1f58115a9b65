from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.predict.inputs import (
    check_nothing_is_replaced,
    find_images,
    name_results,
    sort_inputs,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "a.jpg", "c.PNG", "deep/a.png", "deep/er/d.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "film.mp4").touch()
    (folder / "notes.txt").write_text("no image")
    return folder


def names(files: list[Path], folder: Path) -> list[str]:
    return [str(file.relative_to(folder)) for file in files]


def test_inputs_are_files_and_folders_each_once(images: Path) -> None:
    odd = images / "photo.xyz"
    Image.new("RGB", (4, 4)).save(odd, format="PNG")
    found = find_images([images / "b.png", odd, images, str(images / "a.jpg")])
    assert names(found, images) == ["b.png", "photo.xyz", "a.jpg", "c.PNG"]


def test_folders_in_folders_and_videos(images: Path) -> None:
    found = sort_inputs([images])
    assert names(found.images, images) == ["a.jpg", "b.png", "c.PNG", "deep/a.png", "deep/er/d.png"]
    assert names(found.videos, images) == ["film.mp4"]
    assert found.roots == [images]
    without = sort_inputs([images], leave_out=images / "deep")
    assert names(without.images, images) == ["a.jpg", "b.png", "c.PNG"]


def test_patterns_and_webcams(images: Path) -> None:
    found = sort_inputs([f"{images}/**/*.png", "0", "12"])
    assert names(found.images, images) == ["b.png", "deep/a.png", "deep/er/d.png"]
    assert found.webcams == [0, 12]
    with pytest.raises(DatasetError, match="there is no file that fits"):
        sort_inputs([f"{images}/*.bmp"])


def test_nothing_to_do_is_an_error(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no file or folder"):
        find_images([images, tmp_path / "absent"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"no image in '.*empty'"):
        find_images([empty])
    with pytest.raises(DatasetError, match="no image in nothing"):
        find_images([])


def test_results_of_one_name_are_numbered() -> None:
    files = [Path("x/a.png"), Path("x/a.jpg"), Path("y/A.png"), Path("y/b.png")]
    assert [str(name) for name in name_results(files).values()] == ["a", "a_2", "A_3", "b"]
    files = [Path("x/a.png"), Path("x/s/a.png"), Path("y/s/a.png"), Path("z/a.png")]
    placed = name_results(files, [Path("x"), Path("y")])
    assert [name.as_posix() for name in placed.values()] == ["a", "s/a", "s/a_2", "a_2"]


def test_results_may_lie_anywhere_but_among_the_images(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images)
    for output in (images.parent, images / "deep" / "out", images.parent / "elsewhere"):
        assert len(sort_inputs(["deep"], leave_out=output).images) == 2
        assert len(sort_inputs(["deep/**/*.png"], leave_out=output).images) == 2
    for entry in (".", "*.png", "**/*.png", images):
        with pytest.raises(DatasetError, match="choose another output folder"):
            sort_inputs([entry], leave_out=".")
    # A file by its name is meant, wherever results go.
    assert names(sort_inputs([images / "a.jpg"], leave_out=".").images, images) == ["a.jpg"]
    with pytest.raises(DatasetError, match="there is no file or folder 'absent'"):
        sort_inputs(["absent"], leave_out="absent")


def test_results_keep_their_names() -> None:
    a, b, c = Path("x/1.png"), Path("y/1.png"), Path("z/1.png")
    earlier = {b: Path("1"), Path("gone/1.png"): Path("1_2")}
    placed = name_results([a, b, c], earlier=earlier)
    assert {path: str(name) for path, name in placed.items()} == {a: "1_3", b: "1", c: "1_4"}


def test_long_names_leave_room() -> None:
    files = [Path("x") / ("ü" * 120 + ".png"), Path("y") / ("ü" * 121 + ".png")]
    first, second = (str(name) for name in name_results(files).values())
    assert first == "ü" * 100
    assert second == "ü" * 100 + "_2"


def test_a_result_that_would_replace_an_input_is_named(images: Path) -> None:
    check_nothing_is_replaced([images / "a.jpg"], [images / "a.png"])
    with pytest.raises(
        DatasetError, match=r"would replace 'a\.jpg', .*choose another output folder"
    ):
        check_nothing_is_replaced([images / "a.jpg"], [images / "deep" / ".." / "a.jpg"])
