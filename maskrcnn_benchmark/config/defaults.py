"""The whole configuration: every key with its default, read from files and command lines.

    from maskrcnn_benchmark.config import cfg

    cfg.merge_from_file("configs/e2e_mask_rcnn_R_50_FPN_1x.yaml")
    cfg.merge_from_list(["SOLVER.IMS_PER_BATCH", "2", "SOLVER.STEPS", "(480000, 640000)"])
    cfg.freeze()

`cfg` is one instance for scripts; any number of others may live beside it (`get_defaults()`, `cfg.clone()`), and
nothing below `build/` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from maskrcnn_benchmark.config.dump import dump_section
from maskrcnn_benchmark.config.head_sections import Model
from maskrcnn_benchmark.config.kinds import Count
from maskrcnn_benchmark.config.literals import is_text, strip_quotes, to_value
from maskrcnn_benchmark.config.run_checks import check_run, check_source
from maskrcnn_benchmark.config.run_sections import (
    DataLoader,
    Datasets,
    Input,
    Log,
    Solver,
    Testing,
)
from maskrcnn_benchmark.config.section import Section, UnknownKeyError
from maskrcnn_benchmark.config.suggest import nearest
from maskrcnn_benchmark.config.yaml_source import Setting, read_settings
from maskrcnn_benchmark.errors import ConfigError

COMMAND_LINE = "command line"
PATHS_CATALOG = str(Path(__file__).with_name("paths_catalog.py"))


class Config(Section):
    """All keys of a run."""

    MODEL: Model = Field(default_factory=Model, description="The network.")
    INPUT: Input = Field(default_factory=Input, description="From image file to network input.")
    DATASETS: Datasets = Field(default_factory=Datasets, description="What to train and test on.")
    DATALOADER: DataLoader = Field(default_factory=DataLoader, description="How batches are made.")
    SOLVER: Solver = Field(default_factory=Solver, description="How the weights move.")
    TEST: Testing = Field(default_factory=Testing, description="How detections are scored.")
    LOG: Log = Field(default_factory=Log, description="What is written beside the checkpoints.")
    OUTPUT_DIR: str = Field(
        default=".",
        min_length=1,
        description="Folder for checkpoints, logs and results of the run.",
    )
    PATHS_CATALOG: str = Field(
        default=PATHS_CATALOG,
        description="Python file with the classes DatasetCatalog and ModelCatalog: where data sets "
        "lie and what catalog:// names stand for.",
    )
    DTYPE: Literal["float32", "float16", "bfloat16"] = Field(
        default="float32",
        description="Arithmetic: float32, or mixed precision with float16 or bfloat16.",
    )
    AMP_VERBOSE: bool = Field(
        default=False, description="Has no effect (apex is no longer used); kept for old files."
    )
    SEED: Count = Field(
        default=0,
        description="Start of all random draws: weights, order of images, flips, samples.",
    )

    def model_post_init(self, context: Any, /) -> None:
        """Tell the sections their places."""
        super().model_post_init(context)
        self._place("")

    def __str__(self) -> str:
        """Return all keys and values as YAML."""
        return self.dump()

    def merge_from_file(self, path: str | os.PathLike[str]) -> None:
        """Set the keys that a YAML file gives.

        Raises:
            ConfigError: the file cannot be read, is not YAML, or holds unknown keys or wrong values; nothing is
                changed then.
        """
        name = os.fspath(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise ConfigError(
                f"the configuration file {name!r} cannot be read: {reason}. Give the path of a YAML "
                "file, for example configs/e2e_mask_rcnn_R_50_FPN_1x.yaml."
            ) from error
        self.merge_from_text(text, name=name)

    def merge_from_text(self, text: str, *, name: str = "text") -> None:
        """Set the keys that a YAML text gives; `name` stands for a file name in messages and origins."""
        self._merge(read_settings(text, name=name, is_section=self._is_section))

    def merge_from_list(
        self, pairs: Sequence[object] | None, *, origin: str = COMMAND_LINE
    ) -> None:
        """Set the keys of a list `[KEY, value, KEY, value, ...]`, where values may be text.

        Raises:
            ConfigError: an odd number of entries, unknown keys or wrong values; nothing is changed then.
        """
        pairs = list(pairs or ())
        if len(pairs) % 2:
            raise ConfigError(
                f"{origin}: expected pairs KEY VALUE, got {len(pairs)} words; {pairs[-1]!r} has no "
                "partner. Write KEY and value as two words, and quote a value with spaces."
            )
        settings = []
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if isinstance(value, str) and self._holds_text(str(key)):
                value = strip_quotes(value)
            settings.append(Setting(str(key), value, origin))
        self._merge(settings)

    def merge_from_other_cfg(self, other: Config) -> None:
        """Set every key to the value that it has in another configuration."""
        self._merge(
            Setting(section.key(name), section[name], section.origin_of(name))
            for section, name in other.walk()
        )

    def dump(self) -> str:
        """Return all keys and values as YAML that `merge_from_file` reads back to an equal configuration."""
        return dump_section(self)

    def origin(self, key: str) -> str:
        """Return where a value came from: "default", "file.yaml:12", "command line" or "set in code"."""
        section, name = self.locate(key)
        return section.origin_of(name)

    def validate_run(self, world_size: int = 1, *, training: bool = True) -> None:
        """Check the keys against each other, before a run starts.

        Args:
            world_size: number of processes (GPUs) that share a batch.
            training: also check what only training needs.

        Raises:
            ConfigError: with all contradictions found, where each value came from and what to write instead.
        """
        check_run(self, world_size=world_size, training=training)

    def _merge(self, settings: Iterable[Setting]) -> None:
        settings = list(settings)
        if self._frozen:
            raise ConfigError(
                "the configuration is frozen: nothing can be merged into it. Call defrost() on it "
                "first, or merge into a clone()."
            )
        draft = self.clone()
        problems: list[str] = []
        for key, value, origin in settings:
            try:
                section, name = draft.locate(key)
                value = to_value(value, annotation=section.field(name).annotation)
                if isinstance(value, dict) and isinstance(section[name], dict):
                    value = {**section[name], **value}  # entries by name; those there stay
                section.assign(name, value, origin=origin)
            except ConfigError as error:
                problems.append(f"{origin}: {error}")
        if not problems:
            problems = check_source(draft, keys={setting.key for setting in settings})
        if problems:
            raise ConfigError("\n".join(problems))
        self._adopt(draft)

    def locate(self, key: str) -> tuple[Section, str]:
        """Return (section, name in it) of a dotted key such as SOLVER.BASE_LR.

        Raises:
            UnknownKeyError: there is no such key; with the nearest one.
        """
        section: Section = self
        *path, name = key.split(".")
        for step in path:
            inner = section.get(step)
            if not isinstance(inner, Section):
                raise self._unknown_anywhere(key)
            section = inner
        if name not in section:
            raise self._unknown_anywhere(key)
        return section, name

    def _is_section(self, key: str) -> bool:
        try:
            section, name = self.locate(key)
        except UnknownKeyError:
            return False
        return isinstance(section[name], Section)

    def _holds_text(self, key: str) -> bool:
        try:
            section, name = self.locate(key)
        except UnknownKeyError:
            return False
        return is_text(section.field(name).annotation)

    def _unknown_anywhere(self, key: str) -> UnknownKeyError:
        keys = [section.key(name) for section, name in self.walk()]
        sections = {other.rpartition(".")[0] for other in keys} - {""}
        leaf = key.rpartition(".")[2].upper()
        same_leaf = [other for other in keys if other.rpartition(".")[2] == leaf]
        if "=" in key:
            hint = "; write KEY VALUE as two words, without ="
        elif same_leaf:  # the right name in the wrong section
            hint = nearest(key, same_leaf, count=3, cutoff=0)
        else:
            hint = nearest(key, [*keys, *sections]) or "; `maskrcnn config` lists all keys"
        return UnknownKeyError(f"{key} is not a configuration key{hint}")


def get_defaults() -> Config:
    """Return a new configuration with every key at its default."""
    return Config()


cfg = get_defaults()

# The old name, which the package's own __init__ once imported.
_C = cfg
