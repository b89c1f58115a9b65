"""`maskrcnn config`: the effective values, where each came from and what it means."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.config.explain import explain
from maskrcnn_benchmark.config.schema import json_schema

_STYLES = {"section": "bold", "meaning": "dim", "default": "", "changed": "bold green", "blank": ""}
_WIDTH = 100


def config(
    file: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    schema: bool = False,
    only_changed: bool = False,
    meanings: bool = True,
) -> None:
    """Print the configuration that FILE and KEY VALUE pairs give, as YAML with comments.

    What is printed can be saved and used as a configuration file.

    Args:
        file: a YAML configuration; none = the defaults.
        overrides: KEY VALUE pairs that win over the file.
        schema: print the JSON schema of configuration files instead, for editors.
        only_changed: leave out the keys that have their default.
        meanings: say above each key what it means.

    Raises:
        ConfigError: unknown keys or wrong values; or values that contradict each other, after they are printed.
    """
    if schema:
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
        return
    values = get_defaults()
    if file is not None:
        values.merge_from_file(file)
    values.merge_from_list(overrides)
    console = Console(soft_wrap=True, highlight=False)
    width = min(_WIDTH, console.width) if console.is_terminal else _WIDTH
    for line in explain(values, only_changed=only_changed, meanings=meanings, width=width):
        text = Text(line.text, style=_STYLES[line.kind])
        console.print(text.append(line.origin, style="cyan" if line.kind == "changed" else "dim"))
    values.validate_run(training=bool(values.DATASETS.TRAIN))
