from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.predict.inputs import find_images, name_results, sort_inputs


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
