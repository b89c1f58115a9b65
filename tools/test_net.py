"""Test a model as the old tool did; one process per GPU.

One GPU:      python tools/test_net.py --config-file X.yaml [--ckpt FILE] [KEY VALUE ...]
Several GPUs: torchrun --nproc_per_node=$NGPUS tools/test_net.py --config-file X.yaml ...
              python -m torch.distributed.launch --nproc_per_node=$NGPUS tools/test_net.py ...
"""

from __future__ import annotations

import argparse

from maskrcnn_benchmark.cli.group import exit_if_gate_failed, readable_errors
from maskrcnn_benchmark.cli.legacy_tools import add_common_arguments, read_config


def main() -> None:
    """Read the command line and score the model on every set of DATASETS.TEST."""
    parser = argparse.ArgumentParser(description="PyTorch Object Detection Inference")
    parser.add_argument(
        "--ckpt",
        help="The path to the checkpoint for test, default is the latest checkpoint.",
        default=None,
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    with readable_errors():
        cfg = read_config(args)

        from maskrcnn_benchmark.build.run import test

        exit_if_gate_failed(test(cfg, checkpoint=args.ckpt, local_rank=args.local_rank))


if __name__ == "__main__":
    main()
