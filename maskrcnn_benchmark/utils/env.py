"""The user's own preparations, run before anything else.

The environment variable TORCH_DETECTRON_ENV_MODULE may name a Python file; its function
`setup_environment()` is called when this module is first imported.
"""

from __future__ import annotations

import os

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.utils.imports import import_file

VARIABLE = "TORCH_DETECTRON_ENV_MODULE"


def setup_environment() -> None:
    """Call the `setup_environment` of the file that TORCH_DETECTRON_ENV_MODULE names, if any.

    Raises:
        ConfigError: if the file does not exist or has no such function.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return
    if not os.path.isfile(path):
        raise ConfigError(f"{VARIABLE} must name a Python file; there is none at {path!r}")
    module = import_file("maskrcnn_benchmark.utils.env.custom_module", path)
    if not callable(getattr(module, "setup_environment", None)):
        raise ConfigError(f"{VARIABLE}: {path} must define a function setup_environment()")
    module.setup_environment()


setup_environment()
