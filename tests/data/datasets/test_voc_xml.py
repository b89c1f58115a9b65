"""One annotation file: what is read, and what each mistake is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maskrcnn_benchmark.data.datasets.voc_xml import read_voc_xml
from maskrcnn_benchmark.errors import DatasetError

HEAD = "<annotation><size><width>64</width><height>48</height></size>"


def write(folder: Path, content: str) -> Path:
    path = folder / "000007.xml"
    path.write_text(content)
    return path


def test_objects_count_from_zero_and_parts_are_no_objects(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        HEAD
        + """
        <filename> x.png </filename>
        <object><name> Person </name><difficult>1</difficult>
          <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30.</xmax><ymax>48</ymax></bndbox>
          <part><name>head</name>
            <bndbox><xmin>9</xmin><ymin>9</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>
        </object>
        <object><name>cat</name>
          <bndbox><xmax>7</xmax><xmin>7</xmin><ymin>8</ymin><ymax>8</ymax></bndbox></object>
        </annotation>""",
    )
    image = read_voc_xml(path)
    assert (image.width, image.height, image.file_name) == (64, 48, "x.png")
    assert image.problems == ()
    person, cat = image.objects
    assert (person.name, person.box, person.is_difficult) == ("person", (0, 1.5, 29, 47), True)
    assert (cat.name, cat.box, cat.is_difficult) == ("cat", (6, 7, 6, 7), False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><size>", r"000007\.xml' is no XML that can be read: no element found"),
        ("", "no XML that can be read"),
        ("<html></html>", "expected <annotation> as in Pascal VOC, got <html>"),
        ("<annotation/>", "expected the image's width in pixels in <size><width>, got ''"),
        (
            "<annotation><size><width>64</width><height>0</height></size></annotation>",
            "the image's height in pixels in <size><height>, got '0'",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_voc_xml(write(tmp_path, content))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"annotation file not found: '.*no\.xml'\. Add it, or"):
        read_voc_xml(tmp_path / "no.xml")


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (("x", 1, 5, 5), "expected a number in <bndbox><xmin> of 'cat', got 'x'"),
        ((1, 1, "nan", 5), "<xmax> of 'cat', got 'nan'"),
        ((9, 1, 5, 5), "xmin 9, xmax 5"),
        ((65, 1, 70, 5), r"\(65, 1, 70, 5\) lies outside the image of 64 x 48"),
    ],
)
def test_objects_that_cannot_be_used(
    tmp_path: Path, corners: tuple[object, ...], message: str
) -> None:
    tags = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(tags, corners, strict=True))
    content = f"{HEAD}<object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
    image = read_voc_xml(write(tmp_path, content))
    assert image.objects == ()
    (problem,) = image.problems
    assert problem.text.startswith("object 0 of 000007.xml: ")
    assert re.search(message, problem.text)


def test_an_object_without_a_name(tmp_path: Path) -> None:
    (problem,) = read_voc_xml(write(tmp_path, f"{HEAD}<object/></annotation>")).problems
    assert "expected a class in <name>" in problem.text
