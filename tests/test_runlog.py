"""What a run tells: rows that survive interruptions, means, a bar, pictures."""

import csv
import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from meshreg.train.runlog import Means, MetricRows, RunLog


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_get_new_columns_and_lose_what_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    rows = MetricRows(path, start=0)
    rows.add(10, {"loss": 1.5})
    rows.add(20, {"loss": 1.25, "late": 3.0})
    rows.add(30, {"late": 2.0})
    assert [row["late"] for row in read(path)] == ["", "3", "2"]
    again = MetricRows(path, start=20)
    again.add(30, {"loss": 0.5})
    assert [row["step"] for row in read(path)] == ["10", "20", "30"]
    assert read(path)[-1] == {"step": "30", "loss": "0.5", "late": ""}
    with path.open("a") as file:
        file.write("4")  # killed while it wrote
    MetricRows(path, start=30)
    assert [row["step"] for row in read(path)] == ["10", "20", "30"]


def test_means_are_over_the_steps_that_had_a_value() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    means.add({"a": torch.tensor(3.0)})
    again = Means(means.sums)
    assert again.take() == {"a": 2.0, "b": 5.0}
    assert again.take() == {}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_loss_pace_and_scores_are_told(tmp_path: Path, is_terminal: bool) -> None:
    told = io.StringIO()
    console = Console(file=told, force_terminal=is_terminal, width=120, highlight=False)
    with RunLog(tmp_path, start=0, steps=20, console=console) as log:
        for step in range(1, 21):
            log.step_done(step)
            if step % 10 == 0:
                log.write(step, {"loss": 0.125})
        log.judged(20, {"mpjpe_mm": 55.5})
    for words in ("loss 0.125", " ms", "20/20", "mpjpe_mm 55.5"):
        assert words in told.getvalue(), told.getvalue()
    assert list((tmp_path / "tensorboard").iterdir())
    assert read(tmp_path / "metrics.csv")[-1]["eval_mpjpe_mm"] == "55.5"
