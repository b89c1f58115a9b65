"""What a log shows beside the main numbers: average recall, and a table of the classes."""

from __future__ import annotations

from maskrcnn_benchmark.data.datasets.evaluation.coco.results import NOT_MEASURED, COCOResults


def format_recalls(results: COCOResults) -> str:
    """Lines with the average recall of each task that has it, or nothing."""
    lines = []
    for task, values in results.results.items():
        if names := COCOResults.RECALLS.get(task):
            lines.append(f"Average recall: {task}")
            lines.append(", ".join(names))
            lines.append(", ".join(f"{values[name]:.4f}" for name in names))
    return "\n".join(lines)


def format_classes(results: COCOResults) -> str:
    """A table with one line for each class: its objects and its average precision in percent, by task."""
    tasks = list(results.per_class)
    if not tasks:
        return ""
    classes = results.per_class[tasks[0]]
    head = ["class", "objects", *(f"{task} {name}" for task in tasks for name in ("AP", "AP50"))]
    rows = [head]
    for name, numbers in classes.items():
        values = [
            results.per_class[task][name][metric] for task in tasks for metric in ("AP", "AP50")
        ]
        rows.append([name, f"{numbers['objects']:.0f}", *map(_percent, values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _percent(value: float) -> str:
    return "-" if value == NOT_MEASURED else f"{100 * value:.1f}"
