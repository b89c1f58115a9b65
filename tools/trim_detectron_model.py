"""Remove the layers of the classes from Detectron weights, to fine-tune them for other classes, as the old tool did.

    python tools/trim_detectron_model.py --pretrained_path model_final.pkl --save_path start.pth

Weights of any other dialect work as well; `maskrcnn convert --drop-heads IN OUT` does the same and keeps more.
"""

from __future__ import annotations

import argparse
import os

from maskrcnn_benchmark.cli.group import readable_errors

PRETRAINED = "catalog://Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x"
SAVE_PATH = "./pretrained_model/mask_rcnn_R-50-FPN_1x_detectron_no_last_layers.pth"


def main() -> None:
    """Read the command line and write the trimmed weights."""
    parser = argparse.ArgumentParser(
        description="Trim Detection weights and save in PyTorch format."
    )
    parser.add_argument(
        "--pretrained_path",
        default=PRETRAINED,
        help="path to detectron pretrained weight(.pkl)",
        type=str,
    )
    parser.add_argument(
        "--save_path", default=SAVE_PATH, help="path to save the converted model", type=str
    )
    parser.add_argument(
        "--cfg",
        default="configs/e2e_mask_rcnn_R_50_FPN_1x.yaml",
        help="path to config file (only its PATHS_CATALOG is of use)",
        type=str,
    )
    args = parser.parse_args()
    with readable_errors():
        trim(args.pretrained_path, args.save_path, config_file=args.cfg)


def trim(source: str, save_path: str, *, config_file: str) -> None:
    """Write `{"model": weights without those of the classes}`."""
    from maskrcnn_benchmark.build.checkpointer import open_weights
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.checkpoint.files import write_checkpoint
    from maskrcnn_benchmark.checkpoint.requirements import is_class_layer
    from maskrcnn_benchmark.config import get_defaults

    cfg = get_defaults()
    cfg.merge_from_file(find_config(config_file))
    weights = open_weights(cfg, source).converted.weights
    kept = {}
    for key, value in weights.items():
        if is_class_layer(key, weights):
            print(f"key: {key} is removed")
        else:
            kept[key] = value
    os.makedirs(os.path.dirname(os.path.abspath(save_path)), exist_ok=True)
    write_checkpoint(save_path, {"model": kept})
    print(f"saved to {save_path}.")


if __name__ == "__main__":
    main()
