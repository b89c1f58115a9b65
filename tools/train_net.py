"""Train a model as the old tool did; one process per GPU.

One GPU:      python tools/train_net.py --config-file X.yaml [KEY VALUE ...]
Several GPUs: torchrun --nproc_per_node=$NGPUS tools/train_net.py --config-file X.yaml ...
              python -m torch.distributed.launch --nproc_per_node=$NGPUS tools/train_net.py ...
"""

from __future__ import annotations

import argparse

from maskrcnn_benchmark.cli.group import exit_if_gate_failed, readable_errors
from maskrcnn_benchmark.cli.legacy_tools import add_common_arguments, read_config


def main() -> None:
    """Read the command line, train, and test unless told not to."""
    parser = argparse.ArgumentParser(description="PyTorch Object Detection Training")
    parser.add_argument("--skip-test", help="Do not test the final model", action="store_true")
    add_common_arguments(parser)
    args = parser.parse_args()
    with readable_errors():
        cfg = read_config(args)

        from maskrcnn_benchmark.build.run import train

        results = train(cfg, skip_test=args.skip_test, local_rank=args.local_rank)
        exit_if_gate_failed(results)


if __name__ == "__main__":
    main()
