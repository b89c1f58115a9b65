"""The reference pages of the documentation, made from the commands and the config themselves.

`python -m maskrcnn_benchmark.cli.reference` writes docs/reference/{commands,config}.md of the
checkout it is run in (`make docs`); a test fails while they are not up to date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

if TYPE_CHECKING:
    from maskrcnn_benchmark.config.section import Section

PAGES = Path("docs", "reference")
_GENERATED = "<!-- Made by `make docs`; do not edit. -->\n"


def commands_page() -> str:
    """Return docs/reference/commands.md: every verb with its arguments and options."""
    from maskrcnn_benchmark.cli import app

    group: Any = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        _GENERATED,
        "`maskrcnn VERB ...`, or `python -m maskrcnn_benchmark VERB ...`.",
        "",
        "Exit codes: 0 success, 1 the work failed, 2 the words of the command, the config or the data",
        "were wrong, 130 interrupted. `MASKRCNN_TRACEBACK=1` shows where an error was raised.",
        "",
    ]
    for name, command in group.commands.items():
        if not command.hidden:
            lines += _command_section(name, command)
    return "\n".join(lines).rstrip() + "\n"


def _command_section(name: str, command: Any) -> Iterator[str]:
    yield from (f"## maskrcnn {name}", "")
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        is_example = block.startswith("  ")
        yield from (["```", inspect.cleandoc(block), "```", ""] if is_example else [block, ""])
    verbs = getattr(command, "commands", {})
    if verbs:
        for verb, each in verbs.items():
            yield from _command_section(f"{name} {verb}", each)
        return
    yield from ("| argument or option | meaning |", "|---|---|")
    for param in command.params:
        if "--help" not in param.opts:
            yield f"| `{_cell(_param_name(param))}` | {_cell(param.help or '')} |"
    yield ""


def _param_name(param: Any) -> str:
    metavar: str = param.metavar or ""
    if param.param_type_name == "argument":
        metavar = metavar or param.name.upper()
        many = "..." if param.nargs != 1 else ""
        return (metavar if param.required else f"[{metavar}]") + many
    names = ", ".join([*param.opts, *param.secondary_opts])
    if getattr(param, "is_flag", False):
        return names
    return f"{names} {metavar or 'VALUE'}"


def config_page() -> str:
    """Return docs/reference/config.md: every key with what it takes, its default and meaning."""
    from maskrcnn_benchmark.config import get_defaults

    config = get_defaults()
    lines = [
        "# Configuration",
        "",
        _GENERATED,
        "Every key of a config file or of `KEY VALUE` on a command line. `maskrcnn config FILE` shows",
        "the values that a file gives and where each comes from; `maskrcnn config --schema` writes a",
        "JSON schema for editors.",
        "",
    ]
    shown: Section | None = None
    for section, name in config.walk():
        if section is not shown:
            title = section.key(name).rpartition(".")[0] or "Top level"
            lines += [
                "",
                f"## {title}",
                "",
                "| key | takes | default | meaning |",
                "|---|---|---|---|",
            ]
            shown = section
        lines.append(_key_row(section, name))
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _key_row(section: Section, name: str) -> str:
    from maskrcnn_benchmark.config.describe import describe_field

    field = section.field(name)
    default = "the package's own file" if name == "PATHS_CATALOG" else f"`{section[name]!r}`"
    words = (describe_field(field), default, field.description or "")
    return f"| {name} | " + " | ".join(_cell(each) for each in words) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write both pages."""
    PAGES.mkdir(parents=True, exist_ok=True)
    (PAGES / "commands.md").write_text(commands_page(), encoding="utf-8")
    (PAGES / "config.md").write_text(config_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
