"""The pipeline's numbers against those of released code, and the readers against made-up files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lifting_files import CAMERAS, write_3dhp, write_h36m

from meshreg.body.skeleton import skeleton
from meshreg.data.lifting import LiftingClip, LiftingData
from meshreg.data.lifting_files import H36M_KEPT, read_3dhp, read_videopose3d, to_camera
from meshreg.data.lifting_windows import ClipWindows
from meshreg.data.object_arrays import read_object_arrays
from meshreg.errors import InputError
from meshreg.evaluate.lifting import PROTOCOLS, evaluate_lifter, measured
from meshreg.geometry.screen import to_screen
from meshreg.geometry.windows import windows
from meshreg.lifters.lifting import ClipSizes, lifting_windows
from meshreg.losses.lifting import (
    bone_direction_loss,
    bone_length_loss,
    joint_weights,
    position_loss,
    smoothness_loss,
    velocity_loss,
)
from meshreg.metrics import auc, mpjpe, mpjve, n_mpjpe, pa_mpjpe, pck

H36M = skeleton("h36m17")
MPI = skeleton("mpi_inf_3dhp17")


@pytest.fixture(scope="module")
def released(reference_fixtures: Path) -> dict[str, Any]:
    path = reference_fixtures / "lifters" / "lifter_pipeline.pt"
    return torch.load(path, weights_only=False)


def test_metrics(released: dict[str, Any]) -> None:
    pred, gt = released["pred"], released["gt"]
    for measure, name in ((mpjpe, "mpjpe"), (n_mpjpe, "n_mpjpe"), (pa_mpjpe, "p_mpjpe")):
        assert float(measure(pred, gt).mean()) == pytest.approx(released[name], rel=1e-5), name
    assert float(pa_mpjpe(released["mirror"], gt).mean()) == pytest.approx(
        released["p_mpjpe_mirror"], rel=1e-5
    )
    assert float(mpjve(pred, gt).mean()) == pytest.approx(released["mpjve_axis1"], rel=1e-5)
    flat = mpjve(pred.flatten(0, 1), gt.flatten(0, 1))
    assert float(flat) == pytest.approx(released["mpjve_flat"], rel=1e-5)


def test_losses(released: dict[str, Any]) -> None:
    pred, gt, known = released["pred"], released["gt"], torch.ones(4, 27)
    weight = torch.tensor(joint_weights(H36M))
    assert weight.tolist() == released["w"].tolist()
    position = float(position_loss(pred, gt, weight, known))
    smoothness = float(smoothness_loss(pred, weight, known))
    assert position == pytest.approx(released["weighted_mpjpe"], rel=1e-5)
    assert smoothness == pytest.approx(released["tcloss_weighted_sq"], rel=1e-5)
    whole = position + 0.5 * smoothness + 2 * float(velocity_loss(pred, gt, known))
    assert whole == pytest.approx(released["total_ktp"], rel=1e-5)


def test_padding_does_not_count_in_losses() -> None:
    pred, gt = torch.randn(2, 5, 17, 3), torch.randn(2, 5, 17, 3)
    known = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
    broken = pred.clone()
    broken[:, 3:] = 1e3
    weight = torch.ones(17)
    for loss in (
        lambda p, g, k: position_loss(p, g, weight, k),
        lambda p, g, k: smoothness_loss(p, weight, k),
        velocity_loss,
        lambda p, g, k: bone_length_loss(p, g, H36M, k),
        lambda p, g, k: bone_direction_loss(p, g, H36M, k),
    ):
        expected = loss(pred[:, :3], gt[:, :3], known[:, :3])
        torch.testing.assert_close(loss(broken, gt, known), expected)


def test_bones_are_compared_in_length_and_direction() -> None:
    poses, known = torch.randn(2, 5, 17, 3), torch.ones(2, 5)
    turned = poses @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert float(bone_length_loss(turned, poses, H36M, known)) < 1e-6
    assert float(bone_direction_loss(2 * poses, poses, H36M, known)) < 1e-6
    assert float(bone_direction_loss(-poses, poses, H36M, known)) == pytest.approx(2, rel=1e-5)


def test_the_camera(released: dict[str, Any]) -> None:
    c = {name: torch.as_tensor(value) for name, value in released["camera"].items()}
    torch.testing.assert_close(to_camera(c["world"], c["quat"], c["trans_m"]), c["cam"])


def test_the_joints_of_human36m(released: dict[str, Any]) -> None:
    known = released["skeleton"]
    assert list(H36M_KEPT) == known["kept"] and list(H36M.parents) == known["parents"]
    assert [H36M.flip[i] for i in known["left"]] == known["right"]


def test_windows_of_training(released: dict[str, Any]) -> None:
    chunks = released["ktp_chunk"]
    pairs = [(number, start, end) for number, start, end, flipped in chunks["pairs"] if not flipped]
    mine = [
        (number, *bounds)
        for number, length in enumerate(chunks["lens"])
        for bounds in bounds_of(windows(length, 27, policy="spread"))
    ]
    assert sorted(mine) == sorted(pairs)
    hot = released["hot_stride"]["bounds"]
    assert {(str(n), a, b) for n, a, b in mine} == {tuple(row) for row in hot}
    count = sum(len(windows(n, 27, policy="centred")) for n in chunks["lens"])
    assert count == released["hot_stride1_n"]


def bounds_of(where: Any) -> list[tuple[int, int]]:
    first = where.inside.long().argmax(1)
    starts = (where.frames[torch.arange(len(where)), first] - first).tolist()
    return [(start, start + where.frames.shape[1]) for start in starts]


def test_windows_of_evaluation(released: dict[str, Any]) -> None:
    sizes = ClipSizes(27, 17, 2, "sequence")
    for clip, length in zip(released["p2_list"], released["ktp_chunk"]["lens"], strict=True):
        cut = torch.as_tensor(clip)[lifting_windows(length, sizes).frames]
        shape, total, first = released["ktp_eval_prepare"][length]
        assert tuple(cut.shape) == tuple(shape)
        assert float(cut.sum()) == pytest.approx(total, rel=1e-3)
        assert float(cut[-1].flatten()[0]) == pytest.approx(first, rel=1e-6)


def test_3dhp_measures(released: dict[str, Any]) -> None:
    known = released["tdhp"]
    pred, gt = known["pred_mm"] / 1000, known["gt_mm"] / 1000
    rules = PROTOCOLS["lift-3dhp"]
    scored = [i for i, name in enumerate(MPI.joints) if name not in rules.unscored]
    assert scored == sorted(i for group in known["groups"] for i in group)
    assert 100 * float(pck(pred[:, scored], gt[:, scored]).mean()) == pytest.approx(known["pck"])
    assert 100 * float(auc(pred[:, scored], gt[:, scored]).mean()) == pytest.approx(known["auc"])
    assert 1000 * float(mpjpe(pred, gt).mean()) == pytest.approx(known["mpjpe17"], rel=1e-5)


def test_reading_videopose3d(tmp_path: Path) -> None:
    write_h36m(tmp_path)
    data = read_h36m(tmp_path)
    assert len(data.clips) == 2 * 3 * len(CAMERAS)
    clip = data.clips[1]
    assert (clip.subject, clip.action, clip.size, len(clip)) == ("S1", "Walking", (1002, 1000), 20)
    raw = np.load(tmp_path / "data_3d_h36m.npz", allow_pickle=True)["positions_3d"].item()
    world = torch.from_numpy(raw["S1"]["Walking"][:, list(H36M_KEPT)])
    back = clip.joints_cam @ rotation(CAMERAS[1]["orientation"]).T
    back = back + torch.tensor(CAMERAS[1]["translation"]) / 1000
    torch.testing.assert_close(back, world, atol=1e-5, rtol=1e-5)
    seen = np.load(tmp_path / "data_2d_h36m_gt.npz", allow_pickle=True)["positions_2d"].item()
    torch.testing.assert_close(
        clip.keypoints_px, torch.from_numpy(seen["S1"]["Walking"][1][:20]), atol=0, rtol=0
    )
    assert {c.subject for c in data.of(["S9"]).clips} == {"S9"}


def rotation(quaternion: Any) -> torch.Tensor:
    w, x, y, z = quaternion
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_h36m(folder: Path) -> LiftingData:
    return read_videopose3d(
        folder / "data_3d_h36m.npz",
        folder / "data_2d_h36m_gt.npz",
        folder / "cameras.json",
        joint_set="h36m17",
    )


def test_faulty_files_are_refused(tmp_path: Path) -> None:
    write_h36m(tmp_path, joints=25)
    with pytest.raises(InputError, match=r"frames of 17 joints with 3"):
        read_h36m(tmp_path)
    write_h36m(tmp_path, extra=-4)
    with pytest.raises(InputError, match="2D joints of 16 frames"):
        read_h36m(tmp_path)
    write_h36m(tmp_path)
    (tmp_path / "cameras.json").write_text('{"S1": []}')
    with pytest.raises(InputError, match="no cameras of S1"):
        read_h36m(tmp_path)
    (tmp_path / "cameras.json").unlink()
    with pytest.raises(InputError, match="no cameras at"):
        read_h36m(tmp_path)
    broken = {"S1": {"Walking": np.full((4, 17, 3), np.nan, np.float32)}}
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array(broken))
    write = tmp_path / "cameras.json"
    write.write_text("{}")
    with pytest.raises(InputError, match="not finite"):
        read_h36m(tmp_path)


class Harmful:
    def __reduce__(self) -> Any:
        return (print, ("this must not be printed",))


def test_nothing_pickled_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", data=np.array({"x": Harmful()}, dtype=object))
    with pytest.raises(InputError, match="could run code"):
        read_object_arrays(tmp_path / "a.npz", "data")
    assert "printed" not in capsys.readouterr().out
    loop: list[Any] = []
    loop.append(loop)
    np.savez(tmp_path / "b.npz", data=np.array({"x": loop}, dtype=object))
    with pytest.raises(InputError, match="contains itself"):
        read_object_arrays(tmp_path / "b.npz", "data")
    with pytest.raises(InputError, match="no positions_3d"):
        read_object_arrays(tmp_path / "a.npz", "positions_3d")
    (tmp_path / "c.npz").write_bytes(pickle.dumps({"data": 1}))
    with pytest.raises(InputError, match="download it again"):
        read_object_arrays(tmp_path / "c.npz", "data")


def test_reading_3dhp(tmp_path: Path) -> None:
    write_3dhp(tmp_path)
    data = read_3dhp(tmp_path)
    assert [clip.subject for clip in data.clips] == ["TS1", "TS6", "S1", "S1", "S2"]
    test, train = data.clips[1], data.clips[2]
    assert test.size == (1080, 1920) and test.scored is not None and test.scored.sum() == 6
    assert train.size == (2048, 2048) and (train.fps, train.camera) == (50, "0")
    raw = np.load(tmp_path / "data_train_3dhp.npz", allow_pickle=True)["data"].item()
    expected = torch.from_numpy(raw["S1 Seq1"][0]["0"]["data_3d"]) / 1000
    torch.testing.assert_close(train.joints_cam, expected)
    with pytest.raises(InputError, match=r"data_train_3dhp\.npz"):
        read_3dhp(tmp_path / "nowhere" if (tmp_path / "nowhere").mkdir() else tmp_path / "nowhere")


def clips(*lengths: int, scored: bool = False) -> LiftingData:
    made = [
        LiftingClip(
            keypoints_px=500 * torch.rand(length, 17, 2),
            joints_cam=torch.randn(length, 17, 3),
            size=(480, 640),
            subject=f"S{number}",
            action=("Walking", "Walking 1", "Eating")[number % 3],
            camera="c",
            fps=50.0,
            scored=torch.arange(length) > 1 if scored else None,
        )
        for number, length in enumerate(lengths)
    ]
    return LiftingData(tuple(made), H36M, source="made-up clips")


def test_windows_of_an_epoch_are_all_windows_plain_and_mirrored() -> None:
    data = clips(10, 4, 9)
    batches = ClipWindows(data, frames=9, policy="spread", batch_size=2)
    assert len(batches) == 2 * (2 + 1 + 1)
    seen = [batches.at(number) for number in range(4)]
    assert sorted(i for batch in seen for i in batch.index.tolist()) == [0] * 4 + [1] * 2 + [2] * 2
    whole = to_screen(data.clips[2].keypoints_px, (480, 640))
    found = [x for batch in seen for x, i in zip(batch.x, batch.index, strict=True) if i == 2]
    plain = [x for x in found if torch.equal(x, whole)]
    assert len(plain) == 1
    (other,) = [x for x in found if not torch.equal(x, whole)]
    torch.testing.assert_close(other[:, 4], whole[:, 1] * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(batches.at(1).x, seen[1].x)
    assert not torch.equal(batches.at(4).x, seen[0].x)  # the next epoch has another order
    assert max(float(batch.poses[:, :, 0].abs().max()) for batch in seen) == 0


class Answer(torch.nn.Module):
    """Says the same pose whatever it sees, with a root that is off."""

    predicts, frames, num_joints, in_channels = "sequence", 4, 17, 2

    def __init__(self) -> None:
        super().__init__()
        self.pose = torch.nn.Parameter(torch.randn(17, 3), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pose.expand(*x.shape[:2], 17, 3)


def test_averages_are_those_of_the_protocol() -> None:
    data, network = clips(10, 4, 9), Answer()
    result = evaluate_lifter(network, data, "lift-h36m", flip=False)
    errors = [
        (network.pose - (clip.joints_cam - clip.joints_cam[:, :1])).norm(dim=-1).mean(-1)
        for clip in data.clips
    ]
    walking, eating = 1000 * torch.cat(errors[:2]).mean(), 1000 * errors[2].mean()
    assert result.actions["Walking"]["mpjpe_mm"] == pytest.approx(float(walking), rel=1e-5)
    assert result.means["mpjpe_mm"] == pytest.approx(float((walking + eating) / 2), rel=1e-5)
    without_root = evaluate_lifter(network, data, "lift-h36m-root0", flip=False)
    assert without_root.means["mpjpe_mm"] != pytest.approx(result.means["mpjpe_mm"], rel=1e-3)
    assert result.num_clips == 3 and result.num_frames == 23
    by_subject = evaluate_lifter(network, data, "lift-humaneva", flip=False)
    assert set(by_subject.actions) == {"S0 Walking", "S1 Walking", "S2 Eating"}


def test_frames_that_are_not_valid_do_not_count() -> None:
    data = clips(10, scored=True)
    poses = torch.randn(10, 17, 3)
    first = measured(poses, data.clips[0], H36M, PROTOCOLS["lift-h36m"])
    poses[:2] += 100
    second = measured(poses, data.clips[0], H36M, PROTOCOLS["lift-h36m"])
    assert {name: len(values) for name, values in first.items()} == {
        **dict.fromkeys(("mpjpe_mm", "pa_mpjpe_mm", "n_mpjpe_mm"), 8),
        "mpjve_mm": 7,
    }
    for name, values in first.items():
        torch.testing.assert_close(values, second[name])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_rules_are_told(name: str) -> None:
    card = " ".join(PROTOCOLS[name].card())
    assert "root joint" in card and "mean:" in card and "millimetres" in card
