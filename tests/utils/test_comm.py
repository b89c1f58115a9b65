"""Alone, and between two real processes (gloo)."""

import torch
import torch.distributed as dist

from maskrcnn_benchmark.utils import comm
from tests.engine.processes import run_ranks


def test_a_single_process_is_the_first_of_one():
    assert (comm.get_world_size(), comm.get_rank(), comm.is_main_process()) == (1, 0, True)
    comm.synchronize()
    assert comm.all_gather({"a": 1}) == [{"a": 1}]
    losses = {"b": torch.tensor(1.0), "a": torch.tensor(2.0)}
    assert comm.reduce_dict(losses) == losses


def _talk(folder):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    comm.synchronize()
    values = {"b": torch.tensor(1.0 + rank), "a": torch.tensor(float(rank), requires_grad=True)}
    result = {
        "place": (comm.get_world_size(), comm.get_rank(), comm.is_main_process()),
        # Objects of different sizes.
        "gathered": comm.all_gather({"rank": rank, "boxes": torch.ones(rank * 1000)}),
        "average": comm.reduce_dict(values),
        "sum": comm.reduce_dict(values, average=False),
        "nothing": comm.reduce_dict({}),
    }
    torch.save(result, f"{folder}/{rank}.pth")
    dist.destroy_process_group()


def test_two_processes_share(tmp_path):
    assert run_ranks(_talk, tmp_path, folder=tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert first["place"] == (2, 0, True)
    assert second["place"] == (2, 1, False)
    for result in (first, second):
        assert [each["rank"] for each in result["gathered"]] == [0, 1]
        assert [len(each["boxes"]) for each in result["gathered"]] == [0, 1000]
        assert result["nothing"] == {}
    assert list(first["average"]) == ["a", "b"]
    assert {name: float(value) for name, value in first["average"].items()} == {"a": 0.5, "b": 1.5}
    assert {name: float(value) for name, value in first["sum"].items()} == {"a": 1, "b": 3}
