"""Evaluations: perfect and planted predictions, protocols, intervals, what is written."""

import csv
import io
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_people import plain_body, plain_people
from reference import metrics as twin
from torch import Tensor, nn

from meshreg.body.regressor import JointRegressor
from meshreg.data.sample import KEYPOINTS, Batch, Sample
from meshreg.errors import InputError
from meshreg.evaluate.protocols import PROTOCOLS, find_protocol
from meshreg.evaluate.report import result_table, write_csv, write_json
from meshreg.evaluate.run import Evaluation, evaluate_model


@dataclass(frozen=True, eq=False)
class Said:
    betas: Tensor
    pose_rotmat: Tensor
    transl: Tensor


def truthful(batch: Batch) -> Said:
    return Said(batch.betas, batch.pose_rotmat, batch.transl)


def off(batch: Batch) -> Said:
    """Everybody is a little bent, of another shape, and somewhere else."""
    turn = torch.tensor([[0.9553365, -0.29552, 0.0], [0.29552, 0.9553365, 0.0], [0.0, 0.0, 1.0]])
    pose = batch.pose_rotmat.clone()
    pose[:, 1:12] = pose[:, 1:12] @ turn
    return Said(batch.betas + 0.5, pose, batch.transl + torch.tensor([0.2, 0.0, 0.5]))


@cache
def people() -> list[Sample]:
    batch = plain_people(seed=4).render(range(6))
    return [batch[index] for index in range(6)]


def gendered(samples: list[Sample]) -> list[Sample]:
    """Samples whose meshes come along, of a body with other proportions."""
    body, others = plain_body(), []
    for sample in samples:
        betas = sample.betas + 0.3
        posed = body(betas[None], sample.pose_rotmat[None], sample.transl[None])
        others.append(replace(sample, vertices_cam=posed.vertices[0]))
    return others


def annotated(samples: list[Sample]) -> list[Sample]:
    """Samples whose keypoints are where Human3.6M's rows see them, from another origin."""
    body, rows = plain_body(), JointRegressor.from_body(plain_body().data, "h36m17")
    protocol = find_protocol("mpi-inf-3dhp").joint_sets[0]
    places = KEYPOINTS.index(*protocol.annotated)
    done = []
    for sample in samples:
        posed = body(sample.betas[None], sample.pose_rotmat[None], sample.transl[None])
        points, weight = torch.zeros(49, 3), torch.zeros(49)
        seen = rows(posed.vertices)[0, rows.skeleton.index(*protocol.joints)]
        points[places], weight[places] = seen - posed.joints[0, :1], 1.0
        done.append(replace(sample, keypoints_cam=points, keypoints_cam_weight=weight))
    return done


def data_for(name: str) -> list[Sample]:
    if PROTOCOLS[name].gendered_truth:
        return gendered(people())
    return people() if name.startswith("synth") else annotated(people())


def evaluation(name: str, predict: object = off) -> Evaluation:
    return evaluate_model(predict, data_for(name), name, body=plain_body(), batch_size=4)


@pytest.mark.parametrize("name", ["h36m-p1", "h36m-p2", "mpi-inf-3dhp", "synth-bench-v1"])
def test_the_truth_is_perfect(name: str) -> None:
    result = evaluation(name, truthful)
    assert len(result) == 6 and result.index.tolist() == list(range(6))
    for measure, interval in result.intervals.items():
        if measure.endswith("_mm") or "_mm_" in measure:
            assert interval.high < 0.01, measure
    if name == "mpi-inf-3dhp":
        assert result.intervals["pck150"].mean == 100
        assert result.intervals["auc150"].mean == pytest.approx(3000 / 31, abs=1e-3)
    if name == "synth-bench-v1":  # the plain people wear nothing
        assert result.intervals["silhouette_iou"].low > 0.999
        assert result.intervals["part_iou"].low > 0.999


def test_joint_measures_against_plain_numpy() -> None:
    result, body = evaluation("3dpw"), plain_body()
    hips = evaluation("3dpw-hips")
    rows = torch.from_numpy(body.data.regressors["h36m17"]).double().numpy()
    # Human3.6M's joints by their numbers there: pelvis 0, right leg 1-3, left leg 4-6, thorax 8,
    # head 10, left arm 11-13, right arm 14-16.
    order = [3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10]
    for number, sample in enumerate(data_for("3dpw")):
        batch = Sample(**{k: v[None] for k, v in vars(sample).items()})
        said = off(batch)
        pred = body(said.betas, said.pose_rotmat, said.transl).vertices[0].double().numpy()
        true = sample.vertices_cam.double().numpy()
        pred_joints, true_joints = rows @ pred, rows @ true
        p, t = pred_joints - pred_joints[0], true_joints - true_joints[0]
        expected = {
            "mpjpe_mm": twin.mpjpe(p[order], t[order]),
            "pa_mpjpe_mm": twin.pa_mpjpe(p[order], t[order]),
            "pve_mm": twin.mpjpe(pred - pred_joints[0], true - true_joints[0]),
        }
        for measure, value in expected.items():
            assert float(result.values[measure][number]) == pytest.approx(1000 * value, abs=0.02)
        middle = [joints[[1, 4]].mean(0) for joints in (pred_joints, true_joints)]
        value = twin.mpjpe((pred_joints - middle[0])[order], (true_joints - middle[1])[order])
        assert float(hips.values["mpjpe_mm"][number]) == pytest.approx(1000 * value, abs=0.02)
    assert (result.values["mpjpe_mm"] - hips.values["mpjpe_mm"]).abs().max() > 0.1
    torch.testing.assert_close(result.values["pa_mpjpe_mm"], hips.values["pa_mpjpe_mm"])


def test_translations_count_for_pictures_only() -> None:
    def elsewhere(batch: Batch) -> Said:
        return Said(batch.betas, batch.pose_rotmat, batch.transl + torch.tensor([0.3, 0.0, 0.0]))

    result = evaluation("synth-bench-v1", elsewhere)
    for measure in ("mpjpe_mm", "pa_mpjpe_mm", "pve_mm", "mpjpe_mm_lsp14", "shape_mm"):
        assert result.intervals[measure].high < 0.01
    assert result.intervals["silhouette_iou"].mean < 0.8
    dsr = evaluation("dsr-3dpw", elsewhere)
    torch.testing.assert_close(
        dsr.values["v2v_mm"], evaluation("dsr-3dpw", truthful).values["v2v_mm"]
    )


def test_vertices_without_alignment() -> None:
    result, body = evaluation("dsr-3dpw"), plain_body()
    for number, sample in enumerate(data_for("dsr-3dpw")):
        said = off(Sample(**{k: v[None] for k, v in vars(sample).items()}))
        pred = body(said.betas, said.pose_rotmat, torch.zeros(1, 3)).vertices[0]
        true = body(sample.betas[None] + 0.3, sample.pose_rotmat[None], torch.zeros(1, 3))
        expected = 1000 * twin.mpjpe(pred.numpy(), true.vertices[0].numpy())
        assert float(result.values["v2v_mm"][number]) == pytest.approx(expected, abs=0.02)
    assert not torch.equal(result.values["v2v_mm"], evaluation("3dpw").values["pve_mm"])


def test_shape_is_measured_at_rest() -> None:
    body, result = plain_body(), evaluation("synth-bench-v1")
    moved = (0.5 * body.shapedirs.sum(-1)).double().numpy()
    expected = np.linalg.norm(moved - moved.mean(0), axis=1).mean()
    assert result.intervals["shape_mm"].mean == pytest.approx(1000 * expected, rel=1e-4)
    assert result.values["shape_mm"].std() < 1e-3


def test_what_is_not_known_is_left_out() -> None:
    samples = annotated(people())
    for place in (1, 4):
        lacking = samples[place].keypoints_cam_weight.clone()
        lacking[KEYPOINTS.index("left_knee_lsp")] = 0
        points = torch.full((49, 3), torch.nan)
        samples[place] = replace(samples[place], keypoints_cam_weight=lacking, keypoints_cam=points)
    result = evaluate_model(off, samples, "h36m-p1", body=plain_body())
    assert result.known("mpjpe_mm") == 4 and len(result) == 6
    rest = [sample for place, sample in enumerate(samples) if place not in (1, 4)]
    alone = evaluate_model(off, rest, "h36m-p1", body=plain_body())
    assert result.intervals["mpjpe_mm"] == alone.intervals["mpjpe_mm"]
    nothing = [replace(s, keypoints_cam_weight=torch.zeros(49)) for s in samples]
    with pytest.raises(InputError, match="none of the 6 samples has the truth"):
        evaluate_model(off, nothing, "h36m-p1", body=plain_body())


def test_each_measure_asks_for_its_own_truth() -> None:
    samples = people()[:4]
    samples[0] = replace(samples[0], pose_weight=torch.zeros(24))
    samples[1] = replace(samples[1], transl_weight=torch.tensor(0.0))
    samples[2] = replace(samples[2], joints_weight=torch.zeros(45))
    result = evaluate_model(off, samples, "synth-bench-v1", body=plain_body())
    known = {
        "pve_mm": [False, True, True, True],
        "shape_mm": [False, True, True, True],
        "mpjpe_mm_lsp14": [False, True, True, True],
        "silhouette_iou": [True, False, True, True],
        "mpjpe_mm": [True, True, False, True],
    }
    for measure, expected in known.items():
        assert result.values[measure].isfinite().tolist() == expected, measure


def test_hidden_pixels_do_not_count() -> None:
    """The half of each picture where nobody knows is neither right nor wrong."""
    halves = []
    for sample in people():
        labels = sample.labels.clone()
        labels[:, : labels.shape[1] // 2] = 255
        halves.append(replace(sample, labels=labels))
    result = evaluate_model(truthful, halves, "synth-bench-v1", body=plain_body())
    assert result.intervals["silhouette_iou"].low > 0.999
    assert result.intervals["part_iou"].low > 0.999
    half, whole = (
        evaluate_model(off, samples, "synth-bench-v1", body=plain_body()).values["silhouette_iou"]
        for samples in (halves, people())
    )
    assert (half - whole).abs().max() > 0.01


class Listed(list[Sample]):
    sequences = ("a", "a", "a", "b", "b", "b")


def test_intervals_are_over_sequences_where_there_are_some() -> None:
    plain = evaluate_model(off, people(), "synth-bench-v1", body=plain_body())
    grouped = evaluate_model(off, Listed(people()), "synth-bench-v1", body=plain_body())
    assert torch.equal(plain.values["mpjpe_mm"], grouped.values["mpjpe_mm"])
    halves = [float(plain.values["mpjpe_mm"][part].mean()) for part in (slice(3), slice(3, 6))]
    found = grouped.intervals["mpjpe_mm"]
    assert (found.low, found.high) == pytest.approx((min(halves), max(halves)))


class Network(nn.Module):
    """As a regressor is called; it always says the same, scaled by its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.weight = plain_body(), nn.Parameter(torch.ones(1))
        self.modes: list[bool] = []
        self.sizes: set[int] = set()

    def forward(self, image: Tensor, *, K_full: Tensor, box: Tensor) -> Said:
        self.modes.append(self.training)
        self.sizes.add(image.shape[-1])
        assert K_full.shape[1:] == (3, 3) and box.shape[1:] == (3,)
        pose = torch.eye(3).expand(len(image), 24, 3, 3) * self.weight
        return Said(torch.zeros(len(image), 10), pose, torch.zeros(len(image), 3))


def test_modules_are_called_with_pictures_and_put_back() -> None:
    network = Network().train()
    result = evaluate_model(network, people(), "synth-bench-v1", batch_size=2)
    assert network.training and network.modes == [False] * 3
    assert result.intervals["mpjpe_mm"].mean > 50


def test_modules_see_pictures_of_the_size_they_are_made_for() -> None:
    network, own = Network(), people()[0].image.shape[-1]
    evaluate_model(network, people(), "synth-bench-v1")
    assert network.sizes == {own}
    network.image_size, network.sizes = own // 2, set()
    evaluate_model(network, people(), "synth-bench-v1")
    assert network.sizes == {own // 2}


def test_what_cannot_be_compared_is_refused() -> None:
    def say(**changed: Tensor) -> object:
        return lambda batch: replace(truthful(batch), **changed)

    everybody, body = people(), plain_body()
    with pytest.raises(InputError, match="transl of sample 0 is not finite"):
        evaluate_model(
            say(transl=torch.full((6, 3), torch.nan)), everybody, "synth-bench-v1", body=body
        )
    with pytest.raises(InputError, match="predicts 3 betas, the samples have 10"):
        evaluate_model(say(betas=torch.zeros(6, 3)), everybody, "synth-bench-v1", body=body)
    with pytest.raises(InputError, match="gender, which these samples lack"):
        bare = [replace(sample, vertices_cam=torch.zeros(0, 3)) for sample in everybody]
        evaluate_model(truthful, bare, "3dpw", body=body)
    with pytest.raises(InputError, match="no body of its own"):
        evaluate_model(truthful, everybody, "synth-bench-v1")
    with pytest.raises(InputError, match="has no samples"):
        evaluate_model(truthful, [], "synth-bench-v1", body=body)
    with pytest.raises(InputError, match="did you mean 3dpw"):
        evaluate_model(truthful, everybody, "3dpww", body=body)


def test_protocols_name_joints_that_exist() -> None:
    body = plain_body()
    for protocol in PROTOCOLS.values():
        assert protocol.card()[0].startswith(protocol.name)
        for joints in protocol.joint_sets:
            if joints.regressor:
                rows = JointRegressor.from_body(body.data, joints.regressor)
                rows.skeleton.index(*joints.joints, *joints.roots)
            if joints.annotated:
                assert len(joints.annotated) == len(joints.joints)
                KEYPOINTS.index(*joints.annotated, *joints.annotated_roots)


def test_reports(tmp_path: Path) -> None:
    from rich.console import Console

    result = evaluate_model(
        off, Listed(people()), "synth-bench-v1", body=plain_body(), about={"model": "none"}
    )
    write_csv(result, tmp_path / "samples.csv")
    with (tmp_path / "samples.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sequence"] for row in rows] == list("aaabbb")
    written = [float(row["mpjpe_mm"]) for row in rows]
    np.testing.assert_allclose(written, result.values["mpjpe_mm"].numpy(), rtol=1e-5)
    write_json(result, tmp_path / "results.json")
    record = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert record["results"]["pve_mm"]["mean"] == result.intervals["pve_mm"].mean
    assert record["protocol"]["joint_sets"][0]["roots"] == ["pelvis"]
    assert record["intervals"]["method"].endswith("sequences")
    assert record["about"] == {"model": "none"}
    console = Console(record=True, width=140, file=io.StringIO())
    console.print(result_table(result))
    text = console.export_text()
    assert "pa_mpjpe_mm_lsp14" in text and "synthetic dressed people" in text
    assert "part_iou.pelvis" not in text and "part_iou.pelvis" in record["results"]
