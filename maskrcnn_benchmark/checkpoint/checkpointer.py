"""The checkpoints of a run: a folder of `.pth` files and `last_checkpoint`, which names the newest.

`last_checkpoint` is rewritten only after the file it will name is safely on the disk, so at any
moment it names a whole file; should that one be damaged later, the newest readable one takes its
place.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from maskrcnn_benchmark.checkpoint.files import write_checkpoint
from maskrcnn_benchmark.checkpoint.folded_norms import take_out_epsilon
from maskrcnn_benchmark.checkpoint.input_channels import adapt_input_channels
from maskrcnn_benchmark.checkpoint.matching import (
    WeightMatch,
    load_exactly,
    load_state_dict,
    match_weights,
)
from maskrcnn_benchmark.checkpoint.opening import LoadedFile, fetch, open_file
from maskrcnn_benchmark.checkpoint.optimizer_state import restore_optimizer
from maskrcnn_benchmark.checkpoint.requirements import (
    check_finite,
    check_match,
    describe_other_classes,
)
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.comm import is_main_process

LAST_CHECKPOINT = "last_checkpoint"
_NUMBERED = re.compile(r"^model_(\d+)\.pth$")


class Stateful(Protocol):
    """What can be saved beside the model: a schedule, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain data."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take a state over."""


class Checkpointer:
    """Saves and restores a model with everything that its training needs to go on."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        scheduler: Stateful | None = None,
        save_dir: str | os.PathLike[str] = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
        *,
        stateful: Mapping[str, Stateful] | None = None,
        find_in_catalog: Callable[[str], str] | None = None,
        keep: int = 0,
    ) -> None:
        """Name the parts; nothing is read or written yet.

        Args:
            model: as it is or inside DistributedDataParallel.
            optimizer: restored only if given.
            scheduler: restored only if given.
            save_dir: the run's folder; empty: nothing is saved and there is no last checkpoint.
            save_to_disk: whether this process writes; None: the first process does.
            logger: None: this module's.
            stateful: further parts, saved under these names.
            find_in_catalog: what comes after `catalog://` -> path or URL.
            keep: how many of the numbered checkpoints stay; 0: all.
        """
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.save_dir = os.fspath(save_dir)
        self.save_to_disk = is_main_process() if save_to_disk is None else save_to_disk
        self.logger = logger or logging.getLogger(__name__)
        self.keep = keep
        self._stateful = dict(stateful or {})
        self._find_in_catalog = find_in_catalog

    # Saving

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `save_dir/name.pth`, then make it the last checkpoint.

        Args:
            name: without the ending.
            kwargs: tensors and plain data to keep with it, such as `iteration=...`.

        Raises:
            CheckpointError: if the disk is full or the folder cannot be written; then the last
                checkpoint is still the previous one, intact.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self.model.state_dict()}
        for part, stateful in self._parts().items():
            data[part] = stateful.state_dict()
        data.update(kwargs)
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        write_checkpoint(path, data)
        self.tag_last_checkpoint(path)
        self._remove_old(path)

    def tag_last_checkpoint(self, last_filename: str) -> None:
        """Make `last_checkpoint` name this file."""
        try:
            with atomic_write(self._tag()) as file:
                file.write(last_filename)
        except OSError as error:
            raise CheckpointError(
                f"could not write {self._tag()}: {error.strerror or error}. It still names the "
                f"previous checkpoint; the new one is {last_filename}"
            ) from error

    def _parts(self) -> dict[str, Stateful]:
        parts = {"optimizer": self.optimizer, "scheduler": self.scheduler, **self._stateful}
        return {name: part for name, part in parts.items() if part is not None}

    def _tag(self) -> Path:
        return Path(self.save_dir) / LAST_CHECKPOINT

    def _remove_old(self, newest: str) -> None:
        if self.keep <= 0:
            return
        for path in self._numbered()[self.keep :]:
            if path.name != Path(newest).name:
                self.logger.debug("Removing %s, %d newer ones are kept", path, self.keep)
                path.unlink(missing_ok=True)

    def _numbered(self) -> list[Path]:
        """Return the numbered checkpoints, newest first."""
        found = (path for path in Path(self.save_dir).iterdir() if _NUMBERED.match(path.name))
        return sorted(found, key=lambda path: int(path.stem.split("_")[1]), reverse=True)

    # Restoring

    def has_checkpoint(self) -> bool:
        """Whether the folder has a `last_checkpoint`."""
        return bool(self.save_dir) and self._tag().is_file()

    def get_checkpoint_file(self) -> str:
        """Return what `last_checkpoint` names, "" without one.

        A file that is not there is looked for beside `last_checkpoint`: the folder may have moved.
        """
        if not self.has_checkpoint():
            return ""
        named = self._tag().read_text(encoding="utf-8").strip()
        beside = os.path.join(self.save_dir, os.path.basename(named))
        return beside if not os.path.isfile(named) and os.path.isfile(beside) else named

    def load(
        self, f: str | os.PathLike[str] | None = None, use_latest: bool = True
    ) -> dict[str, Any]:
        """Restore the last checkpoint of the folder; where there is none, load `f`.

        Args:
            f: path, http(s) URL or `catalog://` name; its weights are matched by the ends of
                their names, and what it holds for the optimizer and the schedule is restored too.
            use_latest: whether the folder's last checkpoint goes before `f`.

        Returns:
            What else was saved, such as `iteration`; {} if there was nothing to load.

        Raises:
            CheckpointError: if the file cannot be read or does not fit.
        """
        if use_latest and self.has_checkpoint():
            return self.resume()
        if not f:
            self.logger.info("No checkpoint found. Initializing model from scratch")
            return {}
        _, data = self.load_weights(f)
        return self._restore_parts(data, os.fspath(f))

    def resume(self, opened: LoadedFile | None = None) -> dict[str, Any]:
        """Restore the last checkpoint, name by name, or the newest readable one if it is damaged.

        Args:
            opened: what `open_last` returned, so that it is not read twice.

        Returns:
            What else was saved, such as `iteration`; {} if the folder has no last checkpoint.

        Raises:
            CheckpointError: if none can be read, or it is of another model.
        """
        if not self.has_checkpoint():
            return {}
        opened = opened or self.open_last()
        load_exactly(self.model, opened.converted.weights, source=opened.path)
        return self._restore_parts(dict(opened.rest), opened.path)

    def load_weights(
        self, f: str | os.PathLike[str] | LoadedFile, *, allow_mismatch: bool = False
    ) -> tuple[WeightMatch, dict[str, Any]]:
        """Load the weights of a file and nothing else.

        Args:
            f: path, http(s) URL or `catalog://` name, in any dialect; or a file that was opened already.
            allow_mismatch: whether class layers of another size stay as they are (to train on other classes).

        Returns:
            What went where, and what the file holds besides the weights.

        Raises:
            CheckpointError: if the file cannot be read, or lacks what the model needs; see `requirements`.
        """
        opened = f if isinstance(f, LoadedFile) else self.open(f)
        state = self.model.state_dict()
        loaded = adapt_input_channels(state, opened.converted.weights)
        check_finite(loaded, source=opened.path)
        match = match_weights(state, loaded)
        if match.pairs or match.mismatched:
            check_match(
                state,
                loaded,
                match,
                is_detector=opened.converted.is_detector,
                source=opened.path,
                allow_other_classes=allow_mismatch,
            )
        loaded = take_out_epsilon(
            self.model, loaded, pairs=match.pairs, folded=opened.converted.folded
        )
        match = load_state_dict(self.model, loaded, allow_mismatch=allow_mismatch)
        if difference := describe_other_classes(state, loaded, match.mismatched):
            self.logger.warning("%s: the layers of classes are trained anew", difference)
        return match, dict(opened.rest)

    def open(self, f: str | os.PathLike[str]) -> LoadedFile:
        """Fetch and read a file of weights, without loading them into the model.

        Args:
            f: path, http(s) URL or `catalog://` name.
        """
        self.logger.info("Loading checkpoint from %s", os.fspath(f))
        return open_file(fetch(f, find_in_catalog=self._find_in_catalog))

    def open_last(self) -> LoadedFile:
        """Read the last checkpoint, or the newest readable one if it is damaged.

        Raises:
            CheckpointError: if none can be read.
        """
        named = self.get_checkpoint_file()
        try:
            return self.open(named)
        except CheckpointError as error:
            failures = [str(error)]
        self.logger.warning("The last checkpoint cannot be used: %s", failures[0])
        best: LoadedFile | None = None
        final = Path(self.save_dir) / "model_final.pth"
        for path in [*([final] if final.is_file() else []), *self._numbered()]:
            number = _NUMBERED.match(path.name)
            if str(path) == named or (best and number and _iteration(best) >= int(number[1])):
                continue
            try:
                opened = open_file(path)
            except CheckpointError as error:
                failures.append(str(error))
                continue
            if best is None or _iteration(opened) > _iteration(best):
                best = opened
        if best is None:
            listed = "".join(f"\n  {failure}" for failure in failures)
            raise CheckpointError(
                f"no checkpoint in {self.save_dir} can be read:{listed}\n"
                f"Repair one of them, or delete {self._tag()} to start again"
            )
        self.logger.warning("Going on from the newest readable one, %s", best.path)
        return best

    def _restore_parts(self, data: dict[str, Any], source: str) -> dict[str, Any]:
        for name, part in self._parts().items():
            if name not in data:
                continue
            self.logger.info("Loading %s from %s", name, source)
            saved = data.pop(name)
            if isinstance(part, Optimizer):
                restore_optimizer(part, saved, source=source)
            else:
                part.load_state_dict(saved)
        return data


def _iteration(opened: LoadedFile) -> int:
    return int(opened.rest.get("iteration", -1))
