"""Loaded weights -> the model's own names.

Files name the same weight with more or less in front (`layer1.0.conv1.weight`,
`backbone.body.layer1.0.conv1.weight`, `module.backbone...`). Each model key takes the longest
loaded key that equals it or its end, where the end begins after a dot.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass

from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint.table import count_by_part, log_table
from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

# What files of other programs leave out because it follows from the rest: Detectron folds the statistics of
# frozen norms into scale and shift, and its anchors are made anew.
IMPLIED = re.compile(r"\.(running_(mean|var)|num_batches_tracked|cell_anchors\.\d+)$")
# Norms count the batches that they have seen: nothing that a model without such norms misses.
_COUNTER = ".num_batches_tracked"

StateDict = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class WeightMatch:
    """What of a file goes where.

    Attributes:
        pairs: model key -> loaded key, shapes equal.
        mismatched: model key -> loaded key, shapes different.
        missing: model keys that the file has nothing for.
        unexpected: loaded keys that the model has no place for.
    """

    pairs: dict[str, str]
    mismatched: dict[str, str]
    missing: list[str]
    unexpected: list[str]


def match_keys(model_keys: Iterable[str], loaded_keys: Iterable[str]) -> dict[str, str]:
    """Return model key -> loaded key by the rule above; several model keys may share one."""
    loaded = set(loaded_keys)
    found = {}
    for key in model_keys:
        candidates = [key]
        # A deformable convolution starts from an ordinary one's weights.
        candidates.append(key.replace(".conv2.conv.", ".conv2."))
        # Bodies of torchvision and timm have no `stem` around the first layers of a ResNet.
        candidates.append(key.replace("backbone.body.", "backbone.body.stem.", 1))
        end = next((end for each in candidates if (end := _find_end(each, loaded))), None)
        if end is not None:
            found[key] = end
    return found


def _find_end(key: str, loaded: set[str]) -> str | None:
    parts = key.split(".")
    ends = (".".join(parts[start:]) for start in range(len(parts)))
    # Detectron: any string suffix counted, so that a.xconv1.weight could take conv1.weight.
    return next((end for end in ends if end in loaded), None)


def match_weights(model_state: StateDict, loaded: StateDict) -> WeightMatch:
    """Compare names and shapes; nothing is changed."""
    found = match_keys(model_state, loaded)
    pairs: dict[str, str] = {}
    mismatched: dict[str, str] = {}
    for key, loaded_key in found.items():
        fits = model_state[key].shape == loaded[loaded_key].shape
        (pairs if fits else mismatched)[key] = loaded_key
    used = set(found.values())
    return WeightMatch(
        pairs=pairs,
        mismatched=mismatched,
        missing=[key for key in model_state if key not in found],
        unexpected=[key for key in loaded if key not in used and not key.endswith(_COUNTER)],
    )


def strip_prefix_if_present(state_dict: StateDict, prefix: str) -> dict[str, Tensor]:
    """Remove `prefix` from every name, if every name begins with it."""
    if not state_dict or not all(key.startswith(prefix) for key in state_dict):
        return dict(state_dict)
    return {key.removeprefix(prefix): value for key, value in state_dict.items()}


def align_and_update_state_dicts(
    model_state_dict: MutableMapping[str, Tensor], loaded_state_dict: StateDict
) -> None:
    """Replace each value of `model_state_dict` that has a match; log what was found for what.

    Raises:
        CheckpointError: if matching names have different shapes, or no name matches at all.
    """
    match = match_weights(model_state_dict, loaded_state_dict)
    _refuse(model_state_dict, loaded_state_dict, match, allow_mismatch=False)
    for key, loaded_key in match.pairs.items():
        model_state_dict[key] = loaded_state_dict[loaded_key]
    _report(model_state_dict, loaded_state_dict, match)


def load_state_dict(
    model: nn.Module, loaded_state_dict: StateDict, *, allow_mismatch: bool = False
) -> WeightMatch:
    """Copy loaded weights into the model, by the longest matching name; log what was found.

    Args:
        model: weights without a match keep their values, and are named in the log.
        loaded_state_dict: name -> tensor; `module.` in front of all names is ignored.
        allow_mismatch: whether weights of another shape are left as they are (to fine-tune on
            other classes) rather than refused.

    Returns:
        What went where.

    Raises:
        CheckpointError: if no name matches, or a shape differs and may not.
    """
    loaded = strip_prefix_if_present(loaded_state_dict, "module.")
    model_state = model.state_dict()
    match = match_weights(model_state, loaded)
    _refuse(model_state, loaded, match, allow_mismatch=allow_mismatch)
    chosen = {key: loaded[loaded_key] for key, loaded_key in match.pairs.items()}
    model.load_state_dict(chosen, strict=False)
    _report(model_state, loaded, match)
    return match


def load_exactly(model: nn.Module, loaded_state_dict: StateDict, *, source: str) -> None:
    """Copy loaded weights into the model they were saved from, name by name.

    Args:
        model: every one of its keys must be in the file with the same shape.
        loaded_state_dict: name -> tensor; `module.` in front of all names is ignored.
        source: the file, for messages.

    Raises:
        CheckpointError: if the file does not hold this model.
    """
    loaded = strip_prefix_if_present(loaded_state_dict, "module.")
    model_state = model.state_dict()
    missing = [key for key in model_state if key not in loaded]
    unexpected = [key for key in loaded if key not in model_state]
    mismatched = {
        key: key
        for key, own in model_state.items()
        if key in loaded and loaded[key].shape != own.shape
    }
    if missing or mismatched:
        raise CheckpointError(
            f"{source} was saved from a different model: {len(missing)} weights of this model are "
            f"not in it{examples(missing)}, {len(mismatched)} have another shape"
            f"{shape_table(model_state, loaded, mismatched)}\n"
            "Use the configuration it was trained with, another OUTPUT_DIR, or give the file as "
            "MODEL.WEIGHT to take over what fits"
        )
    if unexpected:
        logger.warning(
            "%s holds %d weights that this model has no place for%s",
            source,
            len(unexpected),
            examples(unexpected),
        )
    model.load_state_dict({key: loaded[key] for key in model_state})


def _refuse(
    model_state: StateDict, loaded: StateDict, match: WeightMatch, *, allow_mismatch: bool
) -> None:
    if not match.pairs and not match.mismatched:
        raise CheckpointError(
            f"none of the {len(loaded)} loaded weights{examples(list(loaded))} belongs to this "
            f"model{examples(list(model_state))}; is it the right file?"
        )
    if match.mismatched and not allow_mismatch:
        raise CheckpointError(
            "these weights have another shape than the model's:"
            f"{shape_table(model_state, loaded, match.mismatched)}\n"
            "Use the configuration that the weights were trained with (number of classes, depth), "
            "or remove these weights from the file to train them anew"
        )


def _report(model_state: StateDict, loaded: StateDict, match: WeightMatch) -> None:
    width = max((len(key) for key in match.pairs), default=0)
    for key, loaded_key in match.pairs.items():
        shape = tuple(loaded[loaded_key].shape)
        logger.debug("%s loaded from %s of shape %s", key.ljust(width), loaded_key, shape)
    logger.info(
        "%d of %d weights of the model loaded, %d of %d in the file used",
        len(match.pairs),
        len(model_state),
        len(set(match.pairs.values())),
        len(loaded),
    )
    states = {
        "matched": match.pairs,
        "missing": match.missing,
        "wrong shape": match.mismatched,
        "unexpected": match.unexpected,
    }
    log_table(count_by_part(states), logger=logger)
    learnt = [name for name in match.missing if not IMPLIED.search(name)]
    if len(learnt) < len(match.missing):
        logger.info(
            "%d statistics of norms and anchors are not in the file; the model's own are used",
            len(match.missing) - len(learnt),
        )
    if learnt:
        logger.warning(
            "%d weights of the model are not in the file and keep their initial values%s",
            len(learnt),
            examples(learnt),
        )
        logger.debug("Not in the file: %s", ", ".join(match.missing))
    if match.mismatched:
        logger.warning(
            "%d weights have another shape in the file; the model's keep their initial values:%s",
            len(match.mismatched),
            shape_table(model_state, loaded, match.mismatched),
        )
    if match.unexpected:
        logger.info(
            "%d weights of the file have no place in the model%s",
            len(match.unexpected),
            examples(match.unexpected),
        )
        logger.debug("Not in the model: %s", ", ".join(match.unexpected))


def examples(names: list[str]) -> str:
    """The first three names in brackets, "" for none."""
    if not names:
        return ""
    shown = ", ".join(names[:3])
    return f" ({shown}, ...)" if len(names) > 3 else f" ({shown})"


def shape_table(model_state: StateDict, loaded: StateDict, pairs: Mapping[str, str]) -> str:
    """One indented line for each pair of names, with both shapes; "" for none."""
    if not pairs:
        return ""
    rows = [("in the model", "shape", "in the file", "shape")]
    for key, loaded_key in pairs.items():
        own, other = tuple(model_state[key].shape), tuple(loaded[loaded_key].shape)
        rows.append((key, str(own), loaded_key, str(other)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"\n  {line.rstrip()}" for line in lines)
