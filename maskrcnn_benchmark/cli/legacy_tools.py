"""What `tools/train_net.py` and `tools/test_net.py` share: the old flags, on today's parts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from maskrcnn_benchmark.errors import ConfigError

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that both tools take."""
    parser.add_argument(
        "--config-file", default="", metavar="FILE", help="path to config file", type=str
    )
    # torch.distributed.launch has passed it in either spelling; torchrun sets LOCAL_RANK instead.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)
    parser.add_argument(
        "opts",
        help="Modify config options using the command-line",
        default=None,
        nargs=argparse.REMAINDER,
    )


def read_config(arguments: argparse.Namespace) -> Config:
    """Make the effective, frozen config of the flags.

    Raises:
        ConfigError: if no config file was named, or its content or the overrides are wrong.
    """
    # The user's own preparations come first, as they did.
    import maskrcnn_benchmark.utils.env  # noqa: F401
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import cfg

    if not arguments.config_file:
        raise ConfigError("Expected a config: --config-file FILE.")
    cfg.merge_from_file(str(find_config(arguments.config_file)))
    cfg.merge_from_list(arguments.opts)
    cfg.freeze()
    return cfg
