from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from maskrcnn_benchmark.config import Config, cfg, get_defaults
from maskrcnn_benchmark.config.head_sections import Model
from maskrcnn_benchmark.config.section import Section
from maskrcnn_benchmark.errors import ConfigError

LEGACY = json.loads(Path(__file__).with_name("legacy_defaults.json").read_text())

NEW_KEYS = {
    "MODEL.NUMERICS": "auto",
    "MODEL.CASCADE_ON": False,
    "MODEL.BACKBONE.NORM": "",
    "MODEL.FPN.NORM": "",
    "MODEL.RESNETS.NORM": "",
    "MODEL.RPN.NUM_CONVS": 1,
    "MODEL.RPN.LOSS_TYPE": "smooth_l1",
    "MODEL.RPN.SMOOTH_L1_BETA": 1 / 9,
    "MODEL.ROI_HEADS.NMS_TYPE": "hard",
    "MODEL.ROI_HEADS.SOFT_NMS_SIGMA": 0.5,
    "MODEL.ROI_CASCADE.FG_IOU_THRESHOLDS": (0.5, 0.6, 0.7),
    "MODEL.ROI_CASCADE.BBOX_REG_WEIGHTS": (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    ),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlign",
    "MODEL.ROI_BOX_HEAD.NORM": "",
    "MODEL.ROI_BOX_HEAD.LOSS_TYPE": "smooth_l1",
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": 1.0,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlign",
    "MODEL.ROI_MASK_HEAD.NORM": "",
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": "ROIAlign",
    "MODEL.RETINANET.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
    "MODEL.RETINANET.LOSS_TYPE": "smooth_l1",
    "INPUT.CHANNELS": 3,
    "INPUT.BIT_DEPTH": 8,
    "DATASETS.KEYPOINT_FLIP_PAIRS": (),
    "DATASETS.KEYPOINT_OKS_SIGMAS": (),
    "DATASETS.CUSTOM": {},
    "DATALOADER.ON_ERROR": "stop",
    "SOLVER.OPTIMIZER": "SGD",
    "SOLVER.LR_SCHEDULE": "multistep",
    "SOLVER.CLIP_GRAD_NORM": 0.0,
    "SOLVER.COMPILE": "",
    "SOLVER.LOG_PERIOD": 20,
    "SOLVER.CHECKPOINT_KEEP": 0,
    "LOG.TENSORBOARD": "auto",
    "SEED": 0,
}


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def as_lists(value: Any) -> Any:
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def write(folder: Path, text: str, name: str = "my.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# --- defaults ---


@pytest.mark.parametrize(("key", "value"), list(leaves(LEGACY)))
def test_old_key_has_its_old_name_type_and_default(key: str, value: Any) -> None:
    section, name = get_defaults().locate(key)
    if key == "PATHS_CATALOG":
        assert Path(section[name]).parts[-2:] == ("config", "paths_catalog.py")
        assert Path(section[name]).is_file()
        return
    assert as_lists(section[name]) == value
    assert json.dumps(section[name]) == json.dumps(value)  # 2 is not 2.0


def test_every_other_key_is_a_known_new_one() -> None:
    config = get_defaults()
    old = dict(leaves(LEGACY))
    new = {s.key(name): s[name] for s, name in config.walk() if s.key(name) not in old}
    assert new == NEW_KEYS


def test_every_key_and_section_is_documented() -> None:
    sections: list[Section] = [get_defaults()]
    for section in sections:
        for name, value in section.items():
            text = section.field(name).description or ""
            assert text.endswith("."), f"{section.key(name)} has no meaning, or no full sentence"
            if isinstance(value, Section):
                sections.append(value)
    assert len(sections) == 21


def test_the_global_configuration_is_one_instance() -> None:
    from maskrcnn_benchmark.config.defaults import _C

    assert isinstance(cfg, Config)
    assert cfg is _C
    assert get_defaults() is not cfg


def test_import_is_light() -> None:
    code = (
        "import sys, maskrcnn_benchmark.config as c; c.cfg.clone(); "
        "heavy = {'torch', 'numpy', 'torchvision', 'rich', 'typer', 'PIL'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- reading and assigning ---


def test_attribute_and_item_access() -> None:
    config = get_defaults()
    assert config.MODEL.RPN.NMS_THRESH == config["MODEL"]["RPN"]["NMS_THRESH"] == 0.7
    assert "RPN" in config.MODEL
    assert "RPM" not in config.MODEL
    assert hasattr(config.MODEL, "RPN")
    assert not hasattr(config.MODEL, "RPM")
    assert getattr(config.MODEL, "RPM", 3) == 3
    assert config.MODEL.get("RPM", 3) == 3
    assert list(config.TEST.BBOX_AUG) == ["ENABLED", "H_FLIP", "SCALES", "MAX_SIZE", "SCALE_H_FLIP"]
    assert dict(config.TEST.BBOX_AUG)["MAX_SIZE"] == 4000
    assert dict(config.TEST.BBOX_AUG.items()) == dict(config.TEST.BBOX_AUG)
    assert config.TEST.BBOX_AUG.values()[0] is False
    assert len(config.DATASETS) == 5


def test_assignment_checks_and_converts() -> None:
    config = get_defaults()
    config.MODEL.DEVICE = "cuda:1"
    config["SOLVER"]["STEPS"] = [10, 20]
    config.SOLVER.BASE_LR = 1
    config.OUTPUT_DIR = Path("runs") / "one"  # type: ignore[assignment]
    assert config.MODEL.DEVICE == "cuda:1"
    assert config.SOLVER.STEPS == (10, 20)
    assert config.SOLVER.BASE_LR == 1.0
    assert Path("runs/one") == Path(config.OUTPUT_DIR)
    assert config.origin("MODEL.DEVICE") == "set in code"


def test_assignment_of_an_unknown_key_names_the_nearest() -> None:
    config = get_defaults()
    with pytest.raises(ConfigError, match=r"MODEL\.DEVCIE is not .* did you mean MODEL\.DEVICE\?"):
        config.MODEL.DEVCIE = "cpu"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"did you mean MODEL\.DEVICE"):
        _ = config.MODEL.DEVCIE  # type: ignore[attr-defined]
    with pytest.raises(KeyError, match=r"did you mean MODEL\.DEVICE"):
        _ = config.MODEL["DEVCIE"]
    with pytest.raises(ConfigError, match=r"LOG\.WHATEVER is not .* the keys here are TENSORBOARD"):
        config.LOG.WHATEVER = 1  # type: ignore[attr-defined]


def test_a_rejected_value_changes_nothing() -> None:
    config = get_defaults()
    with pytest.raises(ConfigError):
        config.MODEL.RPN.NMS_THRESH = 1.5
    assert config.MODEL.RPN.NMS_THRESH == 0.7
    assert config.origin("MODEL.RPN.NMS_THRESH") == "default"


def test_sections_cannot_be_replaced_nor_keys_removed() -> None:
    config = get_defaults()
    with pytest.raises(ConfigError, match="MODEL is a section"):
        config.MODEL = 3  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="cannot be removed"):
        del config.SOLVER.STEPS


# --- merging ---


def test_a_file_in_the_old_style(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "MODEL:\n"
        '  WEIGHT: "catalog://ImageNetPretrained/MSRA/R-50"\n'
        "  RPN:\n"
        "    ANCHOR_STRIDE: (4, 8, 16, 32, 64)\n"
        "SOLVER:\n"
        "  BASE_LR: 1e-3\n"
        "  STEPS: (60000,)\n"
        "DATASETS:\n"
        '  TRAIN: ("coco_2014_train", "coco_2014_valminusminival")\n',
    )
    config = get_defaults()
    config.merge_from_file(path)
    assert config.MODEL.WEIGHT == "catalog://ImageNetPretrained/MSRA/R-50"
    assert config.MODEL.RPN.ANCHOR_STRIDE == (4, 8, 16, 32, 64)
    assert config.SOLVER.BASE_LR == 0.001
    assert config.SOLVER.STEPS == (60000,)
    assert config.DATASETS.TRAIN == ("coco_2014_train", "coco_2014_valminusminival")
    assert config.origin("SOLVER.BASE_LR") == f"{path}:6"
    assert config.origin("SOLVER.GAMMA") == "default"


def test_a_list_as_the_old_readme_writes_it() -> None:
    config = get_defaults()
    config.merge_from_list(
        [
            *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.BASE_LR", "0.0025", "SOLVER.MAX_ITER", "720000"),
            *("SOLVER.STEPS", "(480000, 640000)", "DTYPE", '"float16"', "MODEL.DEVICE", "cpu"),
            *("MODEL.MASK_ON", "true", "INPUT.MIN_SIZE_TRAIN", [640, 800], "OUTPUT_DIR", "2026"),
        ]
    )
    assert config.SOLVER.IMS_PER_BATCH == 2
    assert config.SOLVER.BASE_LR == 0.0025
    assert config.SOLVER.STEPS == (480000, 640000)
    assert (config.DTYPE, config.MODEL.DEVICE, config.OUTPUT_DIR) == ("float16", "cpu", "2026")
    assert config.MODEL.MASK_ON is True
    assert config.INPUT.MIN_SIZE_TRAIN == (640, 800)
    assert config.origin("DTYPE") == "command line"


def test_the_last_of_two_equal_keys_in_a_list_wins() -> None:
    config = get_defaults()
    config.merge_from_list(["SOLVER.MAX_ITER", "1", "SOLVER.MAX_ITER", "50000"], origin="the web")
    assert config.SOLVER.MAX_ITER == 50000
    assert config.origin("SOLVER.MAX_ITER") == "the web"


def test_data_given_directly_is_collected_by_name(tmp_path: Path) -> None:
    config = get_defaults()
    path = write(tmp_path, "DATASETS:\n  CUSTOM:\n    mine: {ann_file: a.json, img_dir: images}\n")
    config.merge_from_file(path)
    config.merge_from_list(["DATASETS.CUSTOM", "{'b': {'ann_file': 'b.json', 'img_dir': 'b'}}"])
    assert dict(config.DATASETS.CUSTOM) == {
        "mine": {"ann_file": "a.json", "img_dir": "images"},
        "b": {"ann_file": "b.json", "img_dir": "b"},
    }


def test_every_mistake_is_listed_and_nothing_is_merged(tmp_path: Path) -> None:
    path = write(
        tmp_path, "SOLVER:\n  MAX_ITER: 90000\n  BAES_LR: 0.1\n  GAMMA: high\nMODLE:\n  A: 1\n"
    )
    config = get_defaults()
    with pytest.raises(ConfigError) as caught:
        config.merge_from_file(path)
    assert str(caught.value).splitlines() == [
        f"{path}:3: SOLVER.BAES_LR is not a configuration key; did you mean SOLVER.BASE_LR?",
        f"{path}:4: SOLVER.GAMMA: expected a number of at least 0, got the text 'high'",
        f"{path}:5: MODLE is not a configuration key; did you mean MODEL?",
    ]
    assert config == get_defaults()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["MODEL.NUM_CLASSES", "3"], r" or MODEL\.ROI_BOX_HEAD\.NUM_CLASSES or "),
        (["MODEL.MASK_HEAD.RESOLUTION", "3"], r"did you mean MODEL\.ROI_MASK_HEAD\.RESOLUTION or"),
        (["XYZ.QQQ", "3"], "QQQ is not a configuration key; `maskrcnn config` lists all keys"),
        (["SOLVER.BASE_LR=0.1", "1"], "write KEY VALUE as two words, without ="),
        (["solver.base_lr", "1"], r"did you mean SOLVER\.BASE_LR\?"),
        (["MODEL", "3"], "MODEL is a section, not a key"),
        (["SOLVER.MAX_ITER"], r"command line: expected pairs KEY VALUE, got 1 words; 'SOLVER"),
        (["SOLVER.MAX_ITER.X", "3"], r"SOLVER\.MAX_ITER\.X is not a configuration key"),
        (["SOLVER.MAX_ITER", "1.5"], r"SOLVER\.MAX_ITER: expected a whole number of at least 1"),
        (["SOLVER.MAX_ITER", True], "expected a whole number of at least 1, got True"),
        (["SOLVER.MAX_ITER", None], r"got nothing \(null\)"),
        (["SOLVER.BASE_LR", "-0.1"], "expected a number of at least 0, got -0.1"),
        (["SOLVER.BASE_LR", float("nan")], "expected a number of at least 0, got nan"),
        (["SOLVER.STEPS", "30000"], r'got 30000; a tuple of one is written "\(30000,\)"'),
        (["SOLVER.STEPS", "(3, 2)"], r"expected iterations in increasing order, got \(3, 2\)"),
        (["SOLVER.STEPS", "(0, 2)"], "expected a tuple of whole numbers of at least 1"),
        (["DATASETS.TEST", "(coco,)"], r"the names in it need quotes"),
        (["MODEL.ROI_BOX_HEAD.NUM_CLASSES", "1"], "expected a whole number of at least 2, got 1"),
        (["MODEL.RPN.NMS_THRESH", "70"], "expected a number from 0 to 1, got 70"),
        (["MODEL.MASK_ON", "maybe"], "expected true or false, got the text 'maybe'"),
        (["MODEL.MASK_ON", 1], "expected true or false, got 1"),
        (["MODEL.DEVICE", "gpu"], "expected a device: one of cpu, cuda"),
        (["MODEL.DEVICE", "cuda:x"], "expected a device"),
        (["DTYPE", "flaot16"], "did you mean float16?"),
        (["INPUT.MIN_SIZE_TRAIN", "()"], "expected a tuple of one or more whole numbers"),
        (["MODEL.RESNETS.STAGE_WITH_DCN", "(1, 2)"], "a tuple of 4 values, true or false"),
        (["MODEL.ROI_BOX_HEAD.POOLER_SCALES", "(0.25, 0.5)"], "half of the one before"),
        (["MODEL.WEIGHT", 3], "expected text, got 3"),
        (["TEST.EXPECTED_RESULTS", "(1,)"], "a tuple of rows, each"),
        (["DATASETS.CUSTOM", "{'a': {'ann_file': 'x'}}"], "'a' has ann_file"),
        (["DATASETS.CUSTOM", "a.json"], "expected names with their entries"),
        (["SOLVER.MOMENTUM", "1"], "expected a number of at least 0 and below 1, got 1"),
    ],
)
def test_mistakes_on_the_command_line(pairs: list[object], message: str) -> None:
    config = get_defaults()
    with pytest.raises(ConfigError, match=message) as caught:
        config.merge_from_list(pairs)
    assert str(caught.value).startswith("command line: ")
    assert config == get_defaults()


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'.*no\.yaml' cannot be read: No such file"):
        get_defaults().merge_from_file(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        get_defaults().merge_from_file(tmp_path / "binary.yaml")


def test_merging_another_configuration_keeps_its_origins() -> None:
    other = get_defaults()
    other.merge_from_list(["SOLVER.MAX_ITER", "7", "SEED", "3"])
    config = get_defaults()
    solver = config.SOLVER
    config.merge_from_other_cfg(other)
    assert config == other
    assert config.SOLVER is solver
    assert config.origin("SEED") == "command line"
    assert config.origin("DTYPE") == "default"


# --- freezing, copying, writing ---


def test_freezing() -> None:
    config = get_defaults()
    config.freeze()
    assert config.is_frozen()
    with pytest.raises(ConfigError, match=r"SOLVER\.GAMMA cannot be set to 0.5: .* frozen"):
        config.SOLVER.GAMMA = 0.5
    with pytest.raises(ConfigError, match="frozen"):
        config.merge_from_list(["SEED", "3"])
    copied = config.clone()
    assert copied.is_frozen()
    copied.defrost()
    copied.SOLVER.GAMMA = 0.5
    assert config.SOLVER.GAMMA == 0.1
    assert config.is_frozen()
    assert not copied.is_frozen()


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, Config.clone, lambda config: pickle.loads(pickle.dumps(config))],
    ids=["deepcopy", "clone", "pickle"],
)
def test_copies_are_equal_and_independent(duplicate: Any) -> None:
    config = get_defaults()
    config.merge_from_list(["DATASETS.CUSTOM", "{'a': {'ann_file': 'x', 'img_dir': 'y'}}"])
    copied = duplicate(config)
    assert copied == config
    assert copied.origin("DATASETS.CUSTOM") == "command line"
    copied.MODEL.RPN.MIN_SIZE = 3
    copied.merge_from_list(["DATASETS.CUSTOM", "{'b': {'ann_file': 'x', 'img_dir': 'y'}}"])
    assert copied != config
    assert config.MODEL.RPN.MIN_SIZE == 0
    assert list(config.DATASETS.CUSTOM) == ["a"]
    with pytest.raises(ConfigError, match=r"MODEL\.RPN\.MIN_SIZE"):
        copied.MODEL.RPN.MIN_SIZE = -1


def test_dump_reads_back_to_an_equal_configuration(tmp_path: Path) -> None:
    config = get_defaults()
    config.merge_from_list(
        [
            *("SOLVER.MAX_ITER", "10", "MODEL.GROUP_NORM.EPSILON", "1e-7", "SOLVER.STEPS", "()"),
            *("TEST.EXPECTED_RESULTS", "(('bbox', 'AP', (0.377, 0.002)),)"),
            *("DATASETS.CUSTOM", "{'a: b': {'ann_file': '#x', 'img_dir': \"it's\"}}"),
            *("MODEL.RPN.ANCHOR_SIZES", "((16, 32), 64.5)", "DATASETS.TRAIN", "('yes', '1')"),
        ]
    )
    config.OUTPUT_DIR = "'quoted'"
    text = config.dump()
    assert "  STEPS: []\n" in text
    assert str(config) == text
    again = get_defaults()
    again.merge_from_file(write(tmp_path, text))
    assert again == config
    assert again.dump() == text
    assert again.OUTPUT_DIR == "'quoted'"


def test_a_short_run_with_inherited_steps_reads_back(tmp_path: Path) -> None:
    config = get_defaults()
    config.merge_from_list(["SOLVER.MAX_ITER", "10"])  # STEPS (30000,) are inherited
    again = get_defaults()
    again.merge_from_file(write(tmp_path, config.dump()))
    assert again == config


def test_a_project_adds_its_own_keys() -> None:
    class MyModel(Model):
        TEMPERATURE: float = Field(default=1.0, gt=0, description="Divides the logits.")

    class MyConfig(Config):
        MODEL: MyModel = Field(default_factory=MyModel, description="The network.")

    config = MyConfig()
    config.merge_from_list(["MODEL.TEMPERATURE", "2", "MODEL.MASK_ON", "True"])
    assert config.MODEL.TEMPERATURE == 2.0
    with pytest.raises(ConfigError, match=r"MODEL\.TEMPERATURE: expected a number above 0"):
        config.MODEL.TEMPERATURE = 0
