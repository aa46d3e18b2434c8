"""`meshreg adapt`: from files to a lifter, going on exactly, and what is refused."""

import os
import signal
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lifting_files import write_h36m, write_motion

from meshreg.adapt.alignment import screen_camera
from meshreg.adapt.generator import Augmentor
from meshreg.body.skeleton import skeleton
from meshreg.cli import _parse, main
from meshreg.data.lifting_settings import TYPICAL
from meshreg.data.target_poses import FEWEST, GivenCamera, TargetPoses, read_targets
from meshreg.geometry.screen import project_to_screen
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import load_lifter
from meshreg.lifters.lifting import clip_sizes
from meshreg.train import poseda
from meshreg.train.lifter_data import make_lifter_data
from meshreg.train.poseda_config import PosedaConfig
from meshreg.train.poseda_data import AdaptedWindows, Rounds, make_bank, make_targets

ROOT = Path(__file__).parents[1] / "configs" / "adapt"
CONFIGS = sorted(ROOT.glob("*.yaml"))
H36M = skeleton("h36m17")
SIZE = (1080, 1920)
FEW = (
    "data.batch_size=4",
    "data.judge_frames=4",
    "augment.batch_size=6",
    "augment.bank=12",
    "augment.steps=5",
    "augment.reach=4",
    "run.steps=5",
    "run.save_every=2",
    "run.log_every=1",
    "run.evaluate_every=0",
)


def write_film(path: Path, *, frames: int = 60, joints: int = 17, **more: Any) -> np.ndarray:
    """2D joints of somebody who hops about in a picture."""
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 120, (1, joints, 2)) + np.array([900, 500])
    points = pose + rng.normal(0, 40, (frames, 1, 2)) + rng.normal(0, 10, (frames, joints, 2))
    arrays = {"keypoints": points, "joint_set": "h36m17", "image_size": SIZE} | more
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return points


def words(folder: Path, *more: str) -> list[str]:
    """A small run on made-up motion; the target is a film."""
    if not (folder / "motion.npz").is_file():
        write_motion(folder / "motion.npz")
    if not (folder / "film.npz").is_file():
        write_film(folder / "film.npz")
    return [
        f"data.path={folder / 'motion.npz'}",
        "data.shapes=1",
        f'target.files=["{folder / "film.npz"}"]',
        "target.focal=1500",
        'model.options={"width": 8}',
        *FEW,
        *more,
    ]


def read(path: Path, *settings: str) -> PosedaConfig:
    options = _parse(["adapt", "--config", str(path), *settings])[1]
    assert isinstance(options, PosedaConfig)
    return options


def small(folder: Path, *more: str, out: str = "run") -> PosedaConfig:
    return read(ROOT / "small.yaml", *words(folder, *more), f"--out={folder / out}")


def source_and_targets(config: PosedaConfig) -> tuple[Any, TargetPoses]:
    network = build_lifter(
        LifterSpec(config.model.builder, config.model.frames, options=config.model.options)
    )
    data = make_lifter_data(config.data, clip_sizes(network), "h36m17", seed=0)
    return data.batches, make_targets(config.target, H36M)


# --- configs --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["small", "clips"])
def test_a_config_takes_steps(name: str, tmp_path: Path) -> None:
    path = ROOT / f"{name}.yaml"
    assert path.read_text("utf-8").startswith(f"# meshreg adapt --config configs/adapt/{name}.yaml")
    options = '{"width": 8, "hidden": 8, "num_heads": 2, "depth": 2}'
    more = [f"model.options={options}", "model.frames=9"] if name == "clips" else []
    settings = [*words(tmp_path, *more), f"--out={tmp_path / 'run'}"]
    assert main(["adapt", "--config", str(path), *settings]) == 0
    _, header = load_lifter(tmp_path / "run" / "model.safetensors")
    assert "adapted to 60 poses by gpa and lpa" in header.recipe
    assert (tmp_path / "run" / "augmentor" / "augmentor.safetensors").is_file()


def test_human36m_is_a_source_as_well(tmp_path: Path) -> None:
    write_h36m(tmp_path)
    config = read(
        ROOT / "h36m_to_target.yaml",
        *words(tmp_path),
        f"data.path={tmp_path / 'data_3d_h36m.npz'}",
        f"data.detections={tmp_path / 'data_2d_h36m_gt.npz'}",
        f"data.cameras={tmp_path / 'cameras.json'}",
        'data.subjects=["S1"]',
        'data.judged=["S9"]',
        f"--out={tmp_path / 'run'}",
    )
    assert poseda.main(config)


def test_sixteen_joints_and_a_lifter_to_start_from(tmp_path: Path) -> None:
    first = small(tmp_path, "model.joint_set=h36m16", "lpa=false", out="first")
    assert poseda.main(first)
    start = tmp_path / "first" / "model.safetensors"
    again = small(tmp_path, "model.joint_set=h36m16", f"model.start_from={start}", "run.steps=1")
    again = replace(again, optimiser=replace(again.optimiser, lr=0.0, weight_decay=0.0))
    assert poseda.main(again)
    one, other = (load_lifter(tmp_path / n / "model.safetensors")[0] for n in ("first", "run"))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_augmentor_is_used_again(whole: Path, tmp_path: Path) -> None:
    path = whole / "augmentor" / "augmentor.safetensors"
    assert poseda.main(small(tmp_path, f"augment.start_from={path}", "gpa=false"))
    assert not (tmp_path / "run" / "augmentor" / "augmentor.safetensors").exists()
    with_other_joints = small(
        tmp_path, f"augment.start_from={path}", "model.joint_set=h36m16", out="other"
    )
    with pytest.raises(Exception, match="changes poses of h36m17"):
        poseda.main(with_other_joints)


# --- going on -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert poseda.main(small(folder))
    return folder / "run"


@pytest.mark.parametrize(
    ("phase", "crash"), [(Rounds, True), (Rounds, False), (AdaptedWindows, True)]
)
def test_a_run_that_was_stopped_goes_on_to_the_last_bit(
    phase: type, crash: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = phase.at

    def trouble(self: Any, number: int) -> Any:
        if number == 3 and crash:
            raise RuntimeError("power")
        if number == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return at(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(phase, "at", trouble)
        if crash:
            with pytest.raises(RuntimeError, match="power"):
                poseda.main(small(tmp_path, out="parts"))
        else:
            assert not poseda.main(small(tmp_path, out="parts"))
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert poseda.main(small(tmp_path, out="parts"))
    for name in ("model.safetensors", "augmentor/augmentor.safetensors"):
        one, other = ((run / name).read_bytes() for run in (whole, tmp_path / "parts"))
        assert one == other, name
    assert losses(whole) == losses(tmp_path / "parts")


def losses(out: Path) -> list[str]:
    """What both phases logged, without times."""
    found = []
    for path in (out / "augmentor" / "metrics.csv", out / "metrics.csv"):
        rows = np.genfromtxt(path, delimiter=",", names=True)
        found += [f"{value:.9g}" for value in np.atleast_1d(rows["loss"])]
    return found


def test_another_run_is_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Any, number: int) -> Any:
        raise KeyboardInterrupt

    path = str(ROOT / "small.yaml")
    settings = [*words(tmp_path), f"--out={tmp_path / 'run'}"]
    with monkeypatch.context() as patched:
        patched.setattr(AdaptedWindows, "at", stopped)  # the game is over by then
        assert main(["adapt", "--config", path, *settings]) == 130
    assert main(["adapt", "--config", path, *settings, "augment.anchor=pair"]) == 2
    assert "augment.anchor" in capsys.readouterr().err


# --- what is learnt from --------------------------------------------------------------------------
def test_nothing_of_the_target_is_3d() -> None:
    assert [f.name for f in fields(TargetPoses)] == ["x", "seen", "intrinsics"]


def test_batches_are_shown_as_people_of_the_target_are(tmp_path: Path) -> None:
    config = small(tmp_path, "data.batch_size=256")
    source, targets = source_and_targets(config)
    batch = AdaptedWindows(source, H36M, targets, None).at(3)
    root = H36M.parents.index(-1)
    roots = targets.x[:, root]
    nearest = torch.cdist(batch.x[:, 0, root], roots).amin(1)
    assert float(nearest.max()) < 1e-4, "roots are those of the target"
    original = source.at(3)
    assert float(torch.cdist(original.x[:, 0, root], roots).amin(1).median()) > 0.02
    torch.testing.assert_close(batch.poses, original.poses)
    K = targets.intrinsics[:1].expand(256, 4)
    shown = project_to_screen(batch.poses[:, 0] + batch.root, K)
    torch.testing.assert_close(shown, batch.x[:, 0])
    again = AdaptedWindows(source, H36M, targets, None).at(3)
    assert torch.equal(again.x, batch.x)
    others = AdaptedWindows(source, H36M, targets, None, seed=1).at(3)
    assert not torch.equal(others.x, batch.x)
    noisy = AdaptedWindows(source, H36M, targets, None, noise=TYPICAL).at(3)
    assert 0.001 < float((noisy.x - batch.x).abs().mean()) < 0.1


def test_a_bank_holds_other_poses_in_the_same_places(tmp_path: Path) -> None:
    config = small(tmp_path, "model.builder=tcn_baseline", "model.frames=9")
    source, targets = source_and_targets(config)
    torch.manual_seed(0)
    augmentor = Augmentor(H36M, width=16)
    bank = make_bank(augmentor, replace(source, batch_size=8), 20, seed=0)
    assert len(bank) == 20 and bank.x.shape == (20, 9, 17, 2)
    original = replace(source, batch_size=8).at(0)
    assert float((bank.poses[:8] - original.poses).norm(dim=-1).mean()) > 0.05
    torch.testing.assert_close(bank.root[:8, 4], original.root[:, 4])
    placed = (original.poses + original.root[:, :, None]).flatten(1, 2)
    camera = screen_camera(placed, original.x.flatten(1, 2))
    made = (bank.poses[:8] + bank.root[:8, :, None]).flatten(1, 2)
    torch.testing.assert_close(project_to_screen(made, camera), bank.x[:8].flatten(1, 2))
    again = make_bank(augmentor, replace(source, batch_size=8), 20, seed=0)
    assert torch.equal(again.poses, bank.poses) and torch.equal(again.x, bank.x)
    mixed = AdaptedWindows(source, H36M, targets, bank, share=0.5).at(0)
    alone = AdaptedWindows(source, H36M, targets, bank, share=1.0).at(0)
    assert all(bool((p == bank.poses).all((1, 2, 3)).any()) for p in alone.poses)
    from_bank = [bool((p == bank.poses).all((1, 2, 3)).any()) for p in mixed.poses]
    assert 0 < sum(from_bank) < 4


def test_clips_of_one_batch_move_as_smoothly_as_before(tmp_path: Path) -> None:
    config = small(tmp_path, "model.builder=tcn_baseline", "model.frames=9")
    source, targets = source_and_targets(config)
    batch, original = AdaptedWindows(source, H36M, targets, None).at(1), source.at(1)
    torch.testing.assert_close(batch.root.diff(dim=1), original.root.diff(dim=1), atol=1e-5, rtol=0)


# --- files of the target --------------------------------------------------------------------------
def test_poses_of_a_film(tmp_path: Path) -> None:
    points = write_film(tmp_path / "film.npz")
    poses = read_targets([tmp_path / "film.npz"], H36M, GivenCamera(focal_px=1500.0))
    assert len(poses) == 60 and poses.seen.all()
    expected = points * 2 / 1920 - np.array([1, 1080 / 1920])
    np.testing.assert_allclose(poses.x.numpy(), expected, atol=1e-5)
    known = torch.tensor([1500 / 960, 1500 / 960, 0.0, 0.0])
    torch.testing.assert_close(poses.intrinsics[0], known, atol=2e-3, rtol=0)
    some = points.copy()
    some[5:8, 3] = np.nan
    write_film(tmp_path / "gaps.npz", keypoints=some)
    gaps = read_targets([tmp_path / "gaps.npz"], H36M, GivenCamera(fov_deg=60.0))
    assert gaps.seen.logical_not().sum() == 3 and gaps.x.isfinite().all()
    assert not gaps.seen[5:8, 3].any()
    sixteen = skeleton("h36m16")
    few = read_targets([tmp_path / "film.npz"], sixteen, GivenCamera(focal_px=1500.0))
    places = H36M.index(*sixteen.joints)
    torch.testing.assert_close(few.x, poses.x[:, places])


ARMS = ["left_wrist", "right_wrist", "nose"]
BAD: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "joints": ({"joint_set": None, "joint_names": ARMS, "joints": 3}, [], "shoulders and hips"),
    "count": ({"joints": 12}, [], "12 joints"),
    "unnamed": ({"joint_set": None}, [], "which joints they are"),
    "nan": ({"keypoints": np.full((60, 17, 2), np.nan)}, [], "shows 0 poses in 60 frames"),
    "few": ({"frames": FEWEST - 1}, [], f"give {FEWEST} or more"),
    "size": ({"image_size": None}, [], "target.size"),
    "other size": ({}, ["target.size=[1920, 1080]"], "leave out target.size"),
    "point": ({"keypoints": np.full((60, 17, 2), 500.0)}, [], "at least 8 px"),
    "other lifter": ({}, ["model.start_from=tcn_baseline"], "holds tcn_baseline of 27 frames"),
    "outside": ({"image_size": (100, 100)}, [], "outside"),
    "camera": ({}, ["target.focal=null"], "target.fov"),
    "cameras": ({}, ["target.fov=50"], "not 2 of them"),
    "files": ({}, ["target.files=[]"], "target.files"),
    "missing": ({}, ['target.files=["nowhere.npz"]'], "nowhere.npz"),
    "other": ({}, ["model.joint_set=humaneva15"], "without head_humaneva"),
    "switches": ({}, ["gpa=false", "lpa=false"], "nothing is adapted"),
    "share": ({}, ["augment.share=2"], "augment.share"),
    "processes": ({}, ["run.devices=2"], "one process"),
    "kind": ({}, ["target.kind=motion"], "target.path"),
    "recipe": ({}, ["recipe=lifter"], "recipe"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, more, told = BAD[name]
    write_film(tmp_path / "film.npz", **film)
    settings = [*words(tmp_path, *more), f"--out={tmp_path / 'run'}"]
    assert main(["adapt", "--config", str(ROOT / "small.yaml"), *settings]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and error.startswith("meshreg: error: "), error


def test_gaps_over_most_of_a_film_leave_too_few_poses(tmp_path: Path) -> None:
    points = write_film(tmp_path / "film.npz", frames=100)
    points[30:] = np.nan
    write_film(tmp_path / "film.npz", keypoints=points)
    with pytest.raises(Exception, match=r"shows 30 poses in 100 frames .* no numbers"):
        read_targets([tmp_path / "film.npz"], H36M, GivenCamera(focal_px=1500.0))


def test_the_recipe_has_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", str(ROOT / "small.yaml")]) == 2
    assert "meshreg adapt" in capsys.readouterr().err


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_configs_can_be_read(path: Path) -> None:
    assert read(path).recipe == "poseda"
