"""The results of many images, kept while they are made: a run that ends early goes on where it stopped.

`predictions.jsonl` has a line for each image from the moment it is done. At the end, or when the work is interrupted,
all of them become `predictions.json`, in COCO's format, and the lines go.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from maskrcnn_benchmark.results.coco import coco_document, detections_from_coco
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.writers import write_json
from maskrcnn_benchmark.structures.sizes import HeightWidth

PREDICTIONS_FILE = "predictions.json"
LINES_FILE = "predictions.jsonl"


class Journal:
    """What was found so far.

    Attributes:
        path: the json file that is made in the end.
        images: file -> its entry in COCO's format; its `modified` and `results` say when the file was changed last, and
            under which name its results lie.
        annotations: file -> what was found in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        category_ids: Mapping[int, int] | None = None,
        resume: bool = True,
    ) -> None:
        """Take up what is there if it was made with the same settings; else begin anew.

        Nothing is written before `begin`.

        Args:
            folder: where the files are.
            settings: of the predictor, in types that JSON knows; None: begin anew.
            category_ids: label -> category id; None where labels are the ids.
            resume: False: begin anew.
        """
        self.path = folder / PREDICTIONS_FILE
        self.images: dict[str, dict[str, Any]] = {}
        self.annotations: dict[str, list[dict[str, Any]]] = {}
        self._about: dict[str, Any] = {"settings": None}
        if settings is not None:
            ids = None if category_ids is None else [list(pair) for pair in category_ids.items()]
            self._about["settings"] = {**settings, "category_ids": ids}
        self._categories: list[dict[str, Any]] = []
        self._category_ids = category_ids
        self._lines = folder / LINES_FILE
        self._file: IO[str] | None = None
        self._adds_lines = False
        if resume and settings is not None:
            self._read_document()
            self._adds_lines = self._read_lines()
        self._ids = {entry["id"] for entry in self.images.values()}

    def is_done(self, file: Path) -> bool:
        """Whether there are results of a file as it is now."""
        entry = self.images.get(str(file))
        return entry is not None and entry.get("modified") == _modified(file)

    def names(self) -> dict[Path, Path]:
        """File -> name of its results, without an ending."""
        return {Path(name): Path(entry["results"]) for name, entry in self.images.items()}

    def begin(self, found: Detections) -> None:
        """Say on disk whose results these are, before the first file of an image is written.

        So what other settings have left behind is not taken for theirs, when the process is killed.
        """
        if self._file is None:
            self._open(coco_document([found], category_ids=self._category_ids)["categories"], found)

    def add(
        self, file: Path, found: Detections, *, image_id: int, results: Path | None = None
    ) -> None:
        """Keep what was found in a file.

        Args:
            file: whose earlier results are replaced.
            found: in it.
            image_id: its number in the json, where that is not taken.
            results: name of its results, without an ending; None: that of the file.
        """
        self.begin(found)
        if str(file) in self.images:
            image_id = self.images[str(file)]["id"]
        elif image_id in self._ids:
            image_id = max(self._ids) + 1
        self._ids.add(image_id)
        found = found.with_source(path=str(file), image_id=image_id)
        document = coco_document([found], category_ids=self._category_ids)
        name = Path(file.stem) if results is None else results
        about = {"modified": _modified(file), "results": name.as_posix()}
        line = {
            "image": {**document["images"][0], **about},
            "annotations": document["annotations"],
        }
        self._write(line)
        self._take(line)

    def close(self) -> None:
        """Write the json; where that fails the lines stay."""
        if self._file is not None:
            # A full disk is reported by what is written next.
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        write_json(self.path, self.document())
        self._lines.unlink(missing_ok=True)

    def document(self) -> dict[str, Any]:
        """Everything in COCO's format, images in the order of their numbers."""
        names = sorted(self.images, key=lambda name: int(self.images[name]["id"]))
        every = [entry for name in names for entry in self.annotations[name]]
        return {
            "info": self._about,
            "images": [self.images[name] for name in names],
            "categories": self._categories,
            "annotations": [{**entry, "id": i} for i, entry in enumerate(every, start=1)],
        }

    def detections(self) -> Iterator[Detections]:
        """What was found, image by image."""
        document = self.document()
        label_of = {each["id"]: label for label, each in enumerate(self._categories, start=1)}
        names = ["__background__", *(each["name"] for each in self._categories)]
        for image in document["images"]:
            yield detections_from_coco(
                self.annotations[image["file_name"]],
                image_size=HeightWidth(image["height"], image["width"]),
                class_names=names,
                labels_of_categories=label_of,
                image_id=image["id"],
                path=image["file_name"],
                box_offset=self._about["box_offset"],
            )

    def _open(self, categories: list[dict[str, Any]], found: Detections) -> None:
        self._categories = categories
        self._about["box_offset"] = found.box_offset
        self._file = self._lines.open("a" if self._adds_lines else "w", encoding="utf-8")
        self._write({"about": self._about, "categories": categories})

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _take(self, line: Mapping[str, Any]) -> None:
        name = line["image"]["file_name"]
        self.images[name] = line["image"]
        self.annotations[name] = line["annotations"]

    def _read_document(self) -> None:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["info"]["settings"] != self._about["settings"]:
                return
            by_id = {image["id"]: image["file_name"] for image in document["images"]}
            images = {image["file_name"]: image for image in document["images"]}
            annotations: dict[str, list[Any]] = {name: [] for name in images}
            for entry in document["annotations"]:
                annotations[by_id[entry["image_id"]]].append(entry)
        except (OSError, ValueError, KeyError, TypeError):
            return  # Not there, or of something else.
        self.images, self.annotations = images, annotations
        self._about, self._categories = document["info"], document["categories"]

    def _read_lines(self) -> bool:
        """Take up the whole lines, and say whether they are ours; a half one at the end is cut off.

        Lines of other settings: their process has written over files of those in the document.
        """
        try:
            data = self._lines.read_bytes()
        except OSError:
            return False
        whole = 0
        is_ours = False
        for raw in data.splitlines(keepends=True):
            try:
                line = json.loads(raw)
            except ValueError:
                break
            if not raw.endswith(b"\n"):
                break
            if "about" in line:
                is_ours = line["about"]["settings"] == self._about["settings"]
                if not is_ours:
                    self.images.clear()
                    self.annotations.clear()
                    return False
                self._about, self._categories = line["about"], line["categories"]
            else:
                self._take(line)
            whole += len(raw)
        with self._lines.open("r+b") as file:
            file.truncate(whole)
        return is_ours


def _modified(file: Path) -> int:
    return file.stat().st_mtime_ns
