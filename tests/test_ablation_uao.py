"""The ablation of uncertainty: whom it judges, what its arms know, a small run of it all."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from lifting_files import write_motion

from benchmarks import ablation_uao
from benchmarks.ablation.uao_arms import ARMS, OFF, RULES, errors_off, inexact, root_rules, told
from benchmarks.ablation.uao_people import Judged, judged_people
from benchmarks.ablation.uao_report import BEGIN, END, calibration, change
from meshreg.body.smpl import load_body
from meshreg.fit.roots import template_lengths
from meshreg.lifters.uao import uao


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    path = tmp_path_factory.mktemp("motion") / "motion.npz"
    write_motion(path)
    return judged_people(path, count=3, frames=9)


def test_judged_people_are_seen_where_they_are(judged: Judged) -> None:
    assert len(judged.pieces) == 2  # of subject 5 one, of subject 14 one; 86 is not in the file
    for piece in judged.pieces:
        away = (piece.lens.project(piece.joints_cam) - piece.x).norm(dim=-1)
        assert 1e-4 < away.median() < 0.05  # a detector's errors
        ankles = piece.joints_cam[:, judged.joints.index("left_ankle", "right_ankle")]
        above = piece.floor.height - ankles @ piece.floor.down
        assert above.min() > 0.05
    lengths = {round(float(p.poses[0, 2].norm()), 4) for p in judged.pieces}
    assert len(lengths) == 2


def test_rules_know_what_their_names_say(judged: Judged) -> None:
    first = told(uao(width=8, hidden=8, depth=1, joint_growth=1).eval(), judged)
    rules = root_rules(template_lengths(load_body(), judged.joints))
    assert set(rules) == set(RULES) and {rule for rule, _ in ARMS.values()} <= set(rules)
    sighting, piece = first.sightings[0], judged.pieces[0]
    truth = piece.joints_cam[:, 0]
    assert torch.equal(rules["true"](piece, 0)(sighting), truth)
    found = rules["true direction"](piece, 0)(sighting)
    torch.testing.assert_close(found[:, :2] / found[:, 2:], truth[:, :2] / truth[:, 2:])
    torch.testing.assert_close(rules["true depth"](piece, 0)(sighting)[:, 2], truth[:, 2])
    near = inexact(truth, 3)
    assert 0 < float((near / truth - 1)[:, 2].abs().max()) < 0.3
    scored = 1000 * first.error(judged)[[0, 8]].mean()  # the first and the last of nine frames
    torch.testing.assert_close(errors_off(first, judged)[OFF][0], scored)


def test_change_and_calibration() -> None:
    off, arm = torch.tensor([50.0, 100.0]), "uncertainty, solved"
    better = {f"mpjpe_mm/{OFF}": off, f"mpjpe_mm/{arm}": 0.9 * off}
    interval, by_seed = change({0: better, 1: better}, arm)
    assert interval.mean == pytest.approx(-10) and by_seed == pytest.approx((-10, -10))
    error, expected = torch.tensor([[9.0, 0.1, 0.3]]), torch.tensor([[0.0, 0.1, 0.1]])
    assert calibration({"error_m": error, "told_m": expected}) == pytest.approx(2.0)


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_motion(tmp_path / "motion.npz")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    (tmp_path / "images").mkdir()
    plan = ablation_uao.Plan(
        tmp_path / "motion.npz", tmp_path / "out", seeds=1, steps=1, pieces=2, frames=9
    )
    assert ablation_uao.main(plan, page) == 0
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "| off |" in text
    assert all(f"| {rule} |" in text for rule in RULES)
    ElementTree.parse(tmp_path / "images" / "page.svg")
    said = capsys.readouterr().out
    assert "seed 0, uncertainty, true" in said
    assert ablation_uao.main(plan, None) == 0  # nothing is done twice
    assert "seed 0, uncertainty" not in capsys.readouterr().out
    assert (tmp_path / "out" / "results.json").is_file()
