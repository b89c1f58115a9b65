"""A whole run that is real but small: a thin Mask R-CNN on a few drawn pictures."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.build import run
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.data.toy.toy_dataset import write_toy_dataset
from maskrcnn_benchmark.engine.training_step import TrainingStep

REPOSITORY = Path(__file__).resolve().parents[2]

# On top of e2e_mask_rcnn_R_50_FPN_1x.yaml: a thin ResNet-18, small pictures, few proposals.
THIN = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHT": "",
    "MODEL.BACKBONE.CONV_BODY": "R-18-FPN",
    "MODEL.BACKBONE.FREEZE_CONV_BODY_AT": 0,
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.RPN.ANCHOR_SIZES": (8, 16, 32, 48, 64),
    "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 60,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 40,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 60,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 20,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 64,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 5,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 6,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (8, 8),
    "INPUT.MIN_SIZE_TRAIN": (64, 80),
    "INPUT.MAX_SIZE_TRAIN": 112,
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TEST": 96,
    "INPUT.BRIGHTNESS": 0.2,
    "DATALOADER.NUM_WORKERS": 1,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.STEPS": (10,),
    "SOLVER.WARMUP_ITERS": 5,
    "SOLVER.MAX_ITER": 14,
    "SOLVER.CHECKPOINT_PERIOD": 4,
    "SOLVER.LOG_PERIOD": 5,
    "SOLVER.IMS_PER_BATCH": 4,
    "TEST.IMS_PER_BATCH": 4,
}


def make_config(folder: Path, **changes: Any) -> Config:
    """Draw the pictures (16 and 6) below `folder` and describe a run on them.

    Args:
        folder: for the pictures; the run goes to `folder/run`.
        changes: keys with two underscores for each dot, `SOLVER__MAX_ITER=3`.
    """
    toy = write_toy_dataset(folder / "data", num_train=16, num_val=6)
    custom = {
        split: {"ann_file": str(part.json_path), "img_dir": str(part.image_folder)}
        for split, part in (("toy_train", toy.train), ("toy_val", toy.val))
    }
    cfg = get_defaults()
    cfg.merge_from_file(REPOSITORY / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml")
    keys: dict[str, Any] = {
        **THIN,
        "DATASETS.CUSTOM": custom,
        "DATASETS.TRAIN": ("toy_train",),
        "DATASETS.TEST": ("toy_val",),
        "OUTPUT_DIR": str(folder / "run"),
        "LOG.TENSORBOARD": "off",
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    cfg.freeze()
    return cfg


def train(
    folder: Path, *, kill_at: int = 0, kill_with: int = signal.SIGKILL, **changes: Any
) -> None:
    """Train in `folder/run`; the process gets a signal in the middle of update `kill_at`."""
    update, done = TrainingStep.__call__, _iterations_done(folder)

    def interrupted(step: TrainingStep, images: Any, targets: Any) -> Any:
        nonlocal done
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), kill_with)
        return update(step, images, targets)

    TrainingStep.__call__ = interrupted  # type: ignore[method-assign]
    try:
        run.train(make_config(folder, **changes), skip_test=True)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        TrainingStep.__call__ = update  # type: ignore[method-assign]


def _iterations_done(folder: Path) -> int:
    tag = folder / "run" / "last_checkpoint"
    return int(tag.read_text().split("model_")[1].split(".")[0]) if tag.exists() else 0
