"""`meshreg evaluate` from the command line, on files of annotations and on shards."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from people_files import bedlam_columns, body, spin_columns, write, write_pictures
from plain_people import plain_people
from torch import Tensor, nn

import meshreg.cli.evaluate
from meshreg.body.smpl import Body
from meshreg.cli import main
from meshreg.cli.options import EvaluateOptions
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import Manifest
from meshreg.evaluate.protocols import find_protocol


class Standing(nn.Module):
    """A model that sees nothing and says that everybody stands upright."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, image: Tensor, *, K_full: Tensor, box: Tensor) -> "Said":
        count = len(image)
        pose = torch.eye(3).repeat(count, 24, 1, 1)
        pose[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        return Said(torch.zeros(count, 10), pose, torch.tensor([[0.0, 0.0, 4.0]]).repeat(count, 1))


class Said:
    def __init__(self, betas: Tensor, pose_rotmat: Tensor, transl: Tensor) -> None:
        self.betas, self.pose_rotmat, self.transl = betas, pose_rotmat, transl


@pytest.fixture(autouse=True)
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshreg.cli.evaluate, "load_regressor", lambda options: Standing())


def annotations(tmp_path: Path) -> Path:
    """Everybody annotated, with all 14 joints of motion capture at the body's own limbs."""
    columns = spin_columns()
    columns["S"][..., 3] = 1
    return write(tmp_path / "h36m.npz", columns)


def arguments(tmp_path: Path, data: Path, protocol: str, *more: str) -> list[str]:
    return [
        "evaluate",
        f"--model={tmp_path / 'model.safetensors'}",
        f"--data={data}",
        f"--protocol={protocol}",
        f"--out={tmp_path / 'out'}",
        *more,
    ]


def test_annotated_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "pictures")
    more = [f"--images={tmp_path / 'pictures'}", "--batch-size=2"]
    assert main(arguments(tmp_path, annotations(tmp_path), "h36m-p1", *more)) == 0
    out = capsys.readouterr().out
    assert "h36m-p1: Human3.6M" in out and "pa_mpjpe_mm" in out and "3 people" in out
    record = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert record["about"]["topology"] == body().topology_hash
    assert record["results"]["mpjpe_mm"]["num_samples"] == 3
    assert 10 < record["results"]["mpjpe_mm"]["mean"] < 500
    with (tmp_path / "out" / "samples.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean = np.mean([float(row["mpjpe_mm"]) for row in rows])
    assert mean == pytest.approx(record["results"]["mpjpe_mm"]["mean"], rel=1e-4)


def test_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Manifest(
        count=4,
        shard_size=4,
        seed=0,
        topology_hash=body().topology_hash,
        jpeg_quality=None,
        settings={},
        made_with={},
    )
    write_shards(tmp_path / "shards", manifest, plain_people)
    assert main(arguments(tmp_path, tmp_path / "shards", "synth-bench-v1")) == 0
    assert "silhouette_iou" in capsys.readouterr().out


def test_models_of_turned_cameras_see_full_pictures(tmp_path: Path) -> None:
    """Pictures are turned when they are cut out, not once more from what was cut out."""
    model: Any = Standing()
    asks = [(how, name) for how in ("none", "minimal") for name in ("h36m-p1", "dsr-3dpw")]
    found = []
    for how, name in asks:
        model.centred = how
        found.append(meshreg.cli.evaluate._centred(model, find_protocol(name)))
    assert found == [False, False, True, False]
    options = EvaluateOptions(
        data=write(tmp_path / "bedlam.npz", bedlam_columns()),
        images=write_pictures(tmp_path / "pictures"),
    )
    plain, turned = (
        meshreg.cli.evaluate.load_data(options, find_protocol("h36m-p1"), body(), centred=centred)
        for centred in (False, True)
    )
    middle = torch.full((2,), 111.5)
    torch.testing.assert_close(turned[0].K[:2, 2], middle, atol=1e-3, rtol=0)
    assert float((plain[0].K[:2, 2] - middle).abs().max()) > 1


@pytest.mark.parametrize(
    ("protocol", "more", "message"),
    [
        ("3dpww", [], "did you mean 3dpw"),
        ("h36m-p2", [], "has 60457274 in its name"),
        ("3dpw", [], "SMPL_FEMALE"),
        ("h36m-p1", ["--device=tpu"], '"cpu" or "cuda"'),
        ("h36m-p1", ["--batch-size=0"], "batch size of 1 or more"),
        ("h36m-p1", ["--regressor=nowhere.npy"], "no regressor file at nowhere.npy"),
        ("h36m-p1", ["--images=nowhere"], "no folder of pictures at nowhere"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    protocol: str,
    more: list[str],
    message: str,
) -> None:
    write_pictures(tmp_path / "pictures")
    images = [] if any("images" in word for word in more) else [f"--images={tmp_path / 'pictures'}"]
    folder = [f"--folder={tmp_path / 'models'}"]
    words = arguments(tmp_path, annotations(tmp_path), protocol, *images, *folder, *more)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message.lower() in err.lower() and err.count("\n") == 1, err


def test_bodies_without_rows_ask_for_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Standing()
    bare.body = Body(replace(body().data, name="smpl_neutral", regressors={}))
    monkeypatch.setattr(meshreg.cli.evaluate, "load_regressor", lambda options: bare)
    write_pictures(tmp_path / "pictures")
    words = arguments(tmp_path, annotations(tmp_path), "h36m-p1")
    assert main([*words, f"--images={tmp_path / 'pictures'}"]) == 2
    assert "smpl_neutral does not bring: give J_regressor_h36m.npy" in capsys.readouterr().err


def test_missing_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, tmp_path / "nothing.npz", "h36m-p1")) == 2
    assert "no data at" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(arguments(tmp_path, tmp_path / "empty", "synth-bench-v1")) == 2
    assert "error:" in capsys.readouterr().err
