import pytest
import torch
from torch import nn

from maskrcnn_benchmark.build.checkpointer import DetectronCheckpointer, find_in_model_catalog
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer


def test_the_shipped_catalog_knows_the_old_names():
    cfg = get_defaults()
    url = find_in_model_catalog(cfg, "ImageNetPretrained/MSRA/R-50")
    assert url.startswith("https://")
    assert url.endswith("/ImageNetPretrained/MSRA/R-50.pkl")


def test_an_unknown_name_is_an_error():
    cfg = get_defaults()
    with pytest.raises(ConfigError, match="catalog://No/Such"):
        find_in_model_catalog(cfg, "No/Such")


def test_the_users_own_catalog_is_asked(tmp_path):
    (tmp_path / "catalog.py").write_text(
        f"""
class DatasetCatalog:
    pass


class ModelCatalog:
    @staticmethod
    def get(name):
        return {{"mine": {str(tmp_path / "mine.pth")!r}}}[name]
"""
    )
    cfg = get_defaults()
    cfg.PATHS_CATALOG = str(tmp_path / "catalog.py")
    source, model = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save({"model": source.state_dict()}, tmp_path / "mine.pth")
    DetectronCheckpointer(cfg, model).load("catalog://mine")
    assert torch.equal(model.weight, source.weight)
    with pytest.raises(ConfigError, match="catalog://other"):
        DetectronCheckpointer(cfg, model).load("catalog://other")


def test_it_is_called_as_before(tmp_path):
    """As in the old tools and notebooks: everything by position."""
    cfg = get_defaults()
    cfg.SOLVER.CHECKPOINT_KEEP = 1
    model = nn.Linear(2, 2)
    optimizer = make_optimizer(cfg, model)
    scheduler = make_lr_scheduler(cfg, optimizer)
    checkpointer = DetectronCheckpointer(cfg, model, optimizer, scheduler, str(tmp_path), True)
    assert checkpointer.load(cfg.MODEL.WEIGHT) == {}
    for iteration in (1, 2):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last_checkpoint",
        "model_0000002.pth",
    ]
    assert checkpointer.load(cfg.MODEL.WEIGHT) == {"iteration": 2}
