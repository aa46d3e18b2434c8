"""Checkpoints: whole or not there, checked when read, old ones removed; and averaged weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from toy_task import toy_model

from meshreg.errors import InputError
from meshreg.train import checkpoint as module
from meshreg.train.checkpoint import Checkpoint, Checkpoints
from meshreg.train.ema import WeightAverage
from meshreg.train.optimiser_state import restore_state, split_state
from meshreg.train.same_run import check_same_run


def a_checkpoint(step: int, score: float | None = None) -> Checkpoint:
    shared = torch.full((3,), float(step))
    tensors = {"model": {"a": shared, "b": shared, "count": torch.tensor(step)}}
    return Checkpoint(step=step, tensors=tensors, facts={"means": {}}, score=score)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "checkpoints")
    assert store.newest(silent) is None
    store.save(a_checkpoint(5))
    found = store.newest(silent)
    assert found is not None and found.step == 5 and found.facts == {"means": {}}
    assert torch.equal(found.tensors["model"]["b"], torch.full((3,), 5.0))
    assert found.tensors["model"]["count"].dtype == torch.int64


def test_old_ones_go_but_the_best_stays(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    for step, score in enumerate([3.0, 1.0, 2.0, None, 1.5]):
        store.save(a_checkpoint(step, score))
    steps = ["step_00000001", "step_00000003", "step_00000004"]
    assert names(tmp_path) == ["best", "latest", *steps]
    assert store.best() == (tmp_path / "step_00000001", 1.0)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "state"])
def test_a_damaged_one_makes_way_for_the_one_before(tmp_path: Path, damage: str) -> None:
    store = Checkpoints(tmp_path, keep=3)
    store.save(a_checkpoint(1))
    newest = store.save(a_checkpoint(2))
    file = newest / ("state.json" if damage == "state" else "model.safetensors")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-1] ^= 1  # still a readable file with a slightly other weight
    if damage in ("cut", "state"):
        content = content[: len(content) // 2]
    file.write_bytes(content)
    if damage == "remove":
        file.unlink()
    heard: list[str] = []
    found = store.newest(heard.append)
    assert found is not None and found.step == 1
    assert heard == ["step_00000002 is damaged: going on from step_00000001 instead."]


def test_if_none_is_whole_it_says_so(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    (store.save(a_checkpoint(1)) / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no checkpoint in .* is whole .*delete this folder"):
        store.newest(silent)


def test_a_full_disk_leaves_the_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Checkpoints(tmp_path)
    store.save(a_checkpoint(1))

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(InputError, match="No space left .*make room"):
        store.save(a_checkpoint(2))
    assert names(tmp_path) == ["latest", "step_00000001"]
    found = store.newest(silent)
    assert found is not None and found.step == 1


def test_leftovers_of_a_killed_run_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".step_00000002.part").mkdir()
    (tmp_path / ".step_00000002.part" / "model.safetensors").write_bytes(b"half")
    store = Checkpoints(tmp_path)
    assert store.newest(silent) is None
    store.save(a_checkpoint(2))
    assert names(tmp_path) == ["latest", "step_00000002"]


def test_an_optimiser_goes_on_as_if_nothing_had_happened() -> None:
    def trained(interrupted: bool) -> torch.nn.Module:
        model = toy_model()
        adam = torch.optim.AdamW(model.parameters(), lr=0.1)
        for step in range(6):
            if interrupted and step == 3:
                tensors, groups = split_state(adam)
                adam = torch.optim.AdamW(model.parameters(), lr=0.7)
                restore_state(adam, {name: t.clone() for name, t in tensors.items()}, groups)
            for parameter in model.parameters():
                parameter.grad = parameter.detach().sin() + step
            adam.step()
        return model

    for a, b in zip(trained(False).parameters(), trained(True).parameters(), strict=True):
        assert torch.equal(a, b)


# --- averaged weights -----------------------------------------------------------------------------
def test_the_average_is_that_of_torch() -> None:
    model = toy_model()
    ours = WeightAverage(model, 0.9)
    ours.updates = 1000  # past the warm-up, which torch does not have
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(model)  # the first one only copies
    for step in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * (step + 1))
            model[1].running_mean += 1
        ours.update(model)
        theirs.update_parameters(model)
    for name, value in theirs.module.named_parameters():
        torch.testing.assert_close(ours.weights[name], value.detach())
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(ours.weights[name], theirs.module.state_dict()[name])
    assert ours.weights["1.num_batches_tracked"] == model[1].num_batches_tracked


def test_statistics_fit_the_weights_they_are_averaged_with() -> None:
    """A layer whose scale keeps changing: its mean over the batch is right for no other weights."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    average = WeightAverage(model, 0.99)
    x = 5 + torch.rand(64, 1)
    for step in range(600):
        with torch.no_grad():
            model[0].weight.fill_(1 + step / 10)
            model(x)
        average.update(model)
    model.eval()
    with average.in_place(model):
        assert model(x).mean().abs() < 1.0  # 1.6 with the latest statistics


def test_the_first_weights_are_soon_forgotten() -> None:
    line = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        line.weight.fill_(1.0)
    average = WeightAverage(line, 0.999)
    kept = 1.0
    with torch.no_grad():
        line.weight.fill_(0.0)
    for update in range(20):
        average.update(line)
        kept *= (1 + update) / (10 + update)
    assert float(average.weights["weight"]) == pytest.approx(kept, rel=1e-5)


def test_the_model_gets_its_own_weights_back() -> None:
    model = toy_model()
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model[0].weight += 1
    own = model[0].weight.detach().clone()
    with pytest.raises(RuntimeError, match="inside"), average.in_place(model):
        assert torch.equal(model[0].weight, average.weights["0.weight"])
        raise RuntimeError("inside")
    assert torch.equal(model[0].weight, own)


# --- the config of a run --------------------------------------------------------------------------
def test_another_config_is_refused_by_name(tmp_path: Path) -> None:
    config = {"out": tmp_path, "run": {"steps": 10, "workers": 0}, "lr": 0.1}
    check_same_run(tmp_path, config)
    check_same_run(tmp_path, config | {"lr": 0.2})  # nothing was trained yet
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/latest").write_text("step_00000001\n")
    check_same_run(tmp_path, config | {"run": {"steps": 10, "workers": 4}, "lr": 0.2})
    with pytest.raises(InputError, match="holds a run with lr 0.2 instead of 0.1: choose another"):
        check_same_run(tmp_path, config)
