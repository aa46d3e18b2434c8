"""The training loop: what a step does, and that nothing is lost when a run is stopped or killed."""

import csv
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toy_task import OPTIMISER, RUN, PointBatches, Points, run_toy, squared, toy_model, toy_task

from meshreg.errors import InputError
from meshreg.losses.terms import Term
from meshreg.train.checkpoint import read_checkpoint
from meshreg.train.schedule import lr_factor
from meshreg.train.settings import OptimiserSettings

TESTS = Path(__file__).parent


class Trouble(PointBatches):
    """Something happens when batch `number` is asked for."""

    def __init__(self, number: int, happening: Any) -> None:
        super().__init__()
        self.number, self.happening = number, happening

    def at(self, number: int) -> Points:
        if number == self.number:
            self.happening()
        return super().at(number)


def rows(out: Path) -> list[dict[str, str]]:
    """The log without its times."""
    with (out / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name != "seconds_per_step"} for row in found]


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def crash() -> None:
    raise RuntimeError("the power went")


def test_a_toy_is_learned(tmp_path: Path) -> None:
    run, optimiser = replace(RUN, steps=600), replace(OPTIMISER, ema=0.99, lr=2e-2)
    task = toy_task(batches=PointBatches(64))
    assert run_toy(tmp_path, task, run=run, optimiser=optimiser)
    losses = [float(row["fit"]) for row in rows(tmp_path)]
    assert losses[-1] < 0.4 * losses[0], losses  # dropout is on
    batch = PointBatches(256).at(10**6)
    error = (task.model.eval()(batch.x) - batch.y).square().mean()
    assert error < 0.3 * batch.y.var(), error


def test_steps_are_those_of_a_loop_written_out(tmp_path: Path) -> None:
    optimiser = OptimiserSettings(
        lr=3e-3, weight_decay=0.1, warmup=3, clip=0.05, accumulate=2, ema=0.0, last=0.1
    )
    torch.manual_seed(1)
    ours = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    torch.manual_seed(1)
    theirs = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    run = replace(RUN, steps=9)
    run_toy(tmp_path, toy_task(model=ours), run=run, optimiser=optimiser)

    weights, biases = [theirs[0].weight, theirs[2].weight], [theirs[0].bias, theirs[2].bias]
    adam = torch.optim.AdamW(
        [{"params": weights}, {"params": biases, "weight_decay": 0.0}], weight_decay=0.1
    )
    for step in range(9):
        growing = (step + 1) / 4 if step < 3 else None
        share = 0.1 + 0.9 * (0.5 + 0.5 * math.cos(math.pi * (step - 3) / 5))
        for group in adam.param_groups:
            group["lr"] = 3e-3 * (growing or share)
        adam.zero_grad()
        for number in (2 * step, 2 * step + 1):
            batch = PointBatches().at(number)
            ((theirs(batch.x) - batch.y).square().mean() / 2).backward()
        gradients = [p.grad for p in theirs.parameters()]
        length = torch.cat([g.flatten() for g in gradients]).norm()
        for gradient in gradients:
            gradient.mul_(min(1.0, 0.05 / float(length)))
        adam.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_run_that_crashed_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    whole, parts = toy_task(), toy_task(batches=Trouble(27, crash))
    run_toy(tmp_path / "whole", whole)
    with pytest.raises(RuntimeError, match="power"):
        run_toy(tmp_path / "parts", parts)
    again = toy_task(model=toy_model(seed=99))
    assert run_toy(tmp_path / "parts", again)
    assert same_weights(whole.model, again.model)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_resuming_can_tell_another_order_of_data(tmp_path: Path) -> None:
    """The test above would notice."""
    whole = toy_task()
    run_toy(tmp_path / "whole", whole)
    with pytest.raises(RuntimeError):
        run_toy(tmp_path / "parts", toy_task(batches=Trouble(27, crash)))
    again = toy_task(batches=PointBatches(15))
    run_toy(tmp_path / "parts", again)
    assert not same_weights(whole.model, again.model)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_leaves(tmp_path: Path, number: int) -> None:
    whole = toy_task()
    run_toy(tmp_path / "whole", whole)
    batches = Trouble(13, lambda: os.kill(os.getpid(), number))
    assert not run_toy(tmp_path / "parts", toy_task(batches=batches))
    assert (tmp_path / "parts/checkpoints/latest").read_text() == "step_00000014\n"
    again = toy_task(model=toy_model(seed=99))
    assert run_toy(tmp_path / "parts", again)
    assert same_weights(whole.model, again.model)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run_toy(tmp_path, run=replace(RUN, steps=10))
    with pytest.raises(
        InputError, match="of step 10 in .* does not fit this model .*size mismatch"
    ):
        run_toy(tmp_path, toy_task(model=nn.Sequential(nn.Linear(2, 3))))


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, toy_task(batches=Trouble(13, twice)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_killed_run_loses_at_most_an_interval(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom toy_task import *\n"
        "from test_train_loop import Trouble\nimport test_train_loop\n"
        "task = toy_task(batches=Trouble(25, lambda: time.sleep(600)))\n"
        f"run_toy(Path({str(tmp_path / 'parts')!r}), task)\n"
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    latest, limit = tmp_path / "parts/checkpoints/latest", time.monotonic() + 60
    while not (latest.is_file() and "20" in latest.read_text()) and time.monotonic() < limit:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert latest.read_text() == "step_00000020\n"
    whole, again = toy_task(), toy_task(model=toy_model(seed=99))
    run_toy(tmp_path / "whole", whole)
    run_toy(tmp_path / "parts", again)
    assert same_weights(whole.model, again.model)


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    run = replace(RUN, steps=12)
    alone, helped = toy_task(), toy_task()
    run_toy(tmp_path / "alone", alone, run=run)
    run_toy(tmp_path / "helped", helped, run=replace(run, workers=1))
    assert same_weights(alone.model, helped.model)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    task = toy_task(batches=PointBatches(4, poisoned=23))
    with pytest.raises(InputError) as error:
        run_toy(tmp_path, task)
    for words in ("'fit' is nan", "step 23", "[92, 93, 94, 95]", "last checkpoint is kept"):
        assert words in str(error.value)
    assert (tmp_path / "checkpoints/latest").read_text() == "step_00000020\n"


def test_gradients_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    def terms(predict: Any, batch: Points, step: int) -> dict[str, Term]:
        error = predict(batch.x) - batch.y
        return {"root": Term(1.0, (error * (0.0 if step == 3 else 1.0)).abs().sqrt().mean())}

    with pytest.raises(InputError, match="gradients' length is nan at step 3 on samples"):
        run_toy(tmp_path, toy_task(terms=terms))


def test_bfloat16_is_for_the_network_only(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    class Watched(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            out = super().forward(x)
            seen.append(out.dtype)
            return out

    def terms(predict: Any, batch: Points, step: int) -> dict[str, Term]:
        seen.append(predict(batch.x).dtype)
        return squared(predict, batch, step)

    task = toy_task(model=Watched(2, 1), terms=terms)
    run_toy(tmp_path, task, run=replace(RUN, steps=1, precision="bf16"))
    assert seen[:3] == [torch.float32, torch.bfloat16, torch.float32]
    assert task.model.weight.dtype == torch.float32


def test_scores_are_of_the_average_and_choose_the_best(tmp_path: Path) -> None:
    heard: list[torch.Tensor] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert not model.training
        heard.append(model[0].weight.detach().clone())
        return {"error": [3.0, 1.0, 2.0, 4.0][len(heard) - 1]}

    def picture(model: nn.Module) -> torch.Tensor:
        image = torch.zeros(3, 4, 6, dtype=torch.uint8)
        image[0, 1, 2] = 200
        return image

    run = replace(RUN, evaluate_every=10, picture_every=20, keep=1)
    task = toy_task(evaluate=evaluate, picture=picture)
    run_toy(tmp_path, task, run=run)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_00000020", "step_00000040"]
    assert (tmp_path / "checkpoints/best").read_text() == "step_00000020\n"
    assert torch.equal(heard[-1], task.model[0].weight)  # the run ends with the average
    assert [row["eval_error"] for row in rows(tmp_path) if row["eval_error"]] == list("3124")
    from PIL import Image

    with Image.open(tmp_path / "pictures/step_00000020.png") as shown:
        assert shown.size == (6, 4) and shown.getpixel((2, 1)) == (200, 0, 0)


def test_the_learning_rate_warms_up_and_falls() -> None:
    settings = OptimiserSettings(warmup=4, last=0.1)
    factors = [lr_factor(step, 20, settings) for step in range(20)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert factors[4] == 1 and factors[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(factors[4:], factors[5:], strict=False))
    falling = replace(settings, schedule="exponential", warmup=0)
    assert lr_factor(19, 20, falling) == pytest.approx(0.1)
    assert lr_factor(0, 20, falling) == 1
    assert lr_factor(15, 20, replace(settings, schedule="constant")) == 1


def test_names_in_lr_scale_must_exist(tmp_path: Path) -> None:
    optimiser = replace(OPTIMISER, lr_scale={"backbone": 0.1})
    with pytest.raises(InputError, match="'backbone', but no weight begins so: try 0, 1, 4"):
        run_toy(tmp_path, optimiser=optimiser)
    slow = replace(OPTIMISER, lr_scale={"0.": 0.0}, weight_decay=0.0, ema=0.0)
    task = toy_task()
    before = task.model[0].weight.detach().clone()
    run_toy(tmp_path, task, optimiser=slow, run=replace(RUN, steps=3))
    assert torch.equal(before, task.model[0].weight)


@pytest.mark.parametrize(
    ("name", "value"), [("lr", -1.0), ("ema", 1.5), ("accumulate", 0), ("lr", float("nan"))]
)
def test_settings_that_cannot_be_meant(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"optimiser.{name} must be"):
        replace(OPTIMISER, **{name: value})
    with pytest.raises(InputError, match="run.steps must be"):
        replace(RUN, steps=0)


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_larger_batches(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import sys, torch\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from torch import nn\nfrom toy_task import *\nfrom meshreg.train.device import launch\n"
        "class Share:\n"
        "    def __init__(self, rank, size):\n        self.rank, self.size = rank, 16 // size\n"
        "    def at(self, number):\n"
        "        whole, first = PointBatches(16).at(number), self.rank * self.size\n"
        "        rows = slice(first, first + self.size)\n"
        "        return Points(whole.x[rows], whole.y[rows], whole.index[rows])\n"
        "def fit(predict, batch, step):\n    return {'fit': squared(predict, batch, step)['fit']}\n"
        "if __name__ == '__main__':\n"
        "    run = replace(RUN, devices=int(sys.argv[2]), steps=20)\n"
        "    fabric = launch(run)\n    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))\n"
        "    batches = Share(fabric.global_rank, fabric.world_size)\n"
        "    task = Task(model=model, batches=batches, terms=fit)\n"
        "    optimiser = replace(OPTIMISER, accumulate=2)\n"
        "    train(fabric, task, optimiser=optimiser, run=run, out=Path(sys.argv[1]))\n"
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    for count in ("1", "2"):
        subprocess.run(
            [sys.executable, str(script), str(tmp_path / count), count],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
            timeout=120,
        )
    one, two = (read_checkpoint(tmp_path / n / "checkpoints/step_00000020") for n in ("1", "2"))
    for name, value in one.tensors["ema"].items():
        torch.testing.assert_close(value, two.tensors["ema"][name])
