"""What can go wrong, as one tree.

    MaskRCNNError
    ├── ConfigError        (ValueError)    a key, a value, or a combination of values
    ├── DatasetError       (ValueError)    annotations or images that cannot be used as they are
    ├── ShapeError         (ValueError)    tensors that do not fit each other
    ├── CheckpointError    (RuntimeError)  weights that cannot be read, or do not fit the model
    ├── TrainingError      (RuntimeError)  a run that cannot go on (a loss that is not finite, say)
    ├── ExportError        (RuntimeError)  a model that cannot be expressed in the format asked for
    └── MissingExtraError  (ImportError)   an optional package that is not installed

Each message says what was expected, what came instead and where, and what to do. `except MaskRCNNError` catches
all of them; each is also the built-in exception that old code would have caught.
"""

from __future__ import annotations


class MaskRCNNError(Exception):
    """Base of all errors this package raises on purpose."""


class ConfigError(MaskRCNNError, ValueError):
    """A configuration key, value or combination of values is wrong."""


class DatasetError(MaskRCNNError, ValueError):
    """An annotation file or an image cannot be used as it is."""


class ShapeError(MaskRCNNError, ValueError):
    """Tensors whose shapes do not fit each other."""


class CheckpointError(MaskRCNNError, RuntimeError):
    """Weights that cannot be read, or do not fit the model."""


class TrainingError(MaskRCNNError, RuntimeError):
    """A training run that cannot go on."""


class ExportError(MaskRCNNError, RuntimeError):
    """A model that cannot be expressed in the format asked for."""


class MissingExtraError(MaskRCNNError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        """Name the missing package, the extra that brings it and what it is for."""
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'maskrcnn-benchmark[{extra}]'",
            name=package,
        )
        self.package = package
        self.extra = extra
