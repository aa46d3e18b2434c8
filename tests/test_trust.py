"""The fit that trusts every joint as far as it deserves it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

import meshreg
from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.cli import main
from meshreg.data.keypoints import Keypoints
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.errors import InputError
from meshreg.fit.trust import Belief, TrustingFitter, TrustSettings, found_joints, joined
from meshreg.fit.variables import BodyVariables, variables_of
from meshreg.geometry.cameras import camera_from_fov, project
from meshreg.losses.priors import load_pose_prior
from meshreg.predictor.refine import refine_by_trust

SIZE = (240, 320)
NAMES = SKELETONS["smpl24"]
ASTRONAUT = Path(__file__).parents[1] / "demo" / "samples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def fitter(body: Body) -> TrustingFitter:
    """With little of the pose prior, which has its own opinion of these people."""
    return TrustingFitter(body=body, prior=load_pose_prior()[0], trust=TrustSettings(pose=0.05))


@pytest.fixture
def truth(body: Body) -> BodyVariables:
    torch.manual_seed(5)
    pose = roma.rotvec_to_rotmat(0.15 * torch.randn(2, 24, 3))
    pose[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ pose[:, 0]
    transl = torch.tensor([[0.1, 0.2, 3.5], [-0.3, 0.1, 4.5]])
    return variables_of(body, torch.zeros(2, 10), pose, transl)


def bent(v: BodyVariables, joint: str, radians: float = 0.6) -> BodyVariables:
    """The same bodies with one joint turned."""
    pose = v.body_pose.clone()
    pose[:, NAMES.index(joint)[0] - 1, 2] += radians
    return replace(v, body_pose=pose)


def joints_of(body: Body, v: BodyVariables) -> Tensor:
    """All 45 joints."""
    return body(v.betas, v.pose_rotmat(), v.transl(body)).joints


def belief(body: Body, answer: BodyVariables, seen: BodyVariables) -> Belief:
    """Of a network that ends with one body and saw the joints of another."""
    K = camera_from_fov(50.0, SIZE).K.expand(2, 3, 3)
    return Belief(
        K=K,
        points_px=project(joints_of(body, seen), K),
        points_scale_px=torch.full((2, 45), 2.0),
        joints_cam=joints_of(body, answer)[:, :24],
        across=torch.full((2, 24), 0.1),
        depth=torch.full((2, 24), 0.15),
        place=torch.full((2,), 0.15),
    )


def elbow_error(body: Body, found: BodyVariables, truth: BodyVariables) -> Tensor:
    wrist = NAMES.index("left_wrist")[0]
    a, b = (joints_of(body, v) for v in (found, truth))
    return ((a - a[:, :1])[:, wrist] - (b - b[:, :1])[:, wrist]).norm(dim=-1)


def test_where_the_picture_is_sure_the_body_follows_it(
    body: Body, fitter: TrustingFitter, truth: BodyVariables
) -> None:
    """The same points, believed or not: the arm goes there or stays."""
    answer = bent(truth, "left_elbow")
    before = elbow_error(body, answer, truth)
    assert (before > 0.1).all()
    sure = belief(body, answer, seen=truth)
    with_it = fitter(answer, sure)
    assert (elbow_error(body, with_it, truth) < 0.5 * before).all()
    unsure = replace(sure, points_scale_px=torch.full((2, 45), 100.0))
    without = fitter(answer, unsure)
    assert (elbow_error(body, without, truth) > 0.8 * before).all()


def test_where_the_network_is_sure_the_body_stays(
    body: Body, fitter: TrustingFitter, truth: BodyVariables
) -> None:
    answer = bent(truth, "left_elbow")
    told = belief(body, answer, seen=truth)
    arm = list(NAMES.index("left_elbow", "left_wrist", "left_hand"))
    across, depth = told.across.clone(), told.depth.clone()
    across[:, arm], depth[:, arm] = 0.005, 0.005
    stubborn = replace(told, across=across, depth=depth)
    moved = [elbow_error(body, fitter(answer, b), answer) for b in (told, stubborn)]
    assert (moved[1] < 0.6 * moved[0]).all()


def test_every_person_is_fitted_alone(
    body: Body, fitter: TrustingFitter, truth: BodyVariables
) -> None:
    answer = bent(truth, "left_knee")
    both = belief(body, answer, seen=truth)
    together = fitter(answer, both)
    one = Belief(**{name: value[1:] for name, value in vars(both).items()})
    alone = fitter(answer.select(torch.tensor([1])), one)
    torch.testing.assert_close(together.body_pose[1:], alone.body_pose, atol=2e-3, rtol=0)
    again = joined([Belief(**{k: v[:1] for k, v in vars(both).items()}), one])
    assert torch.equal(again.points_px, both.points_px)


def test_the_energies_are_likelihoods(
    body: Body, fitter: TrustingFitter, truth: BodyVariables
) -> None:
    """Far from the middle they are |error| / scale, as of Laplace distributions."""
    told = belief(body, truth, seen=truth)
    off = replace(told, points_px=told.points_px + torch.tensor([200.0, 0.0]))
    seen = fitter.energy(truth, truth, off, None, 0.01)["seen"]
    torch.testing.assert_close(
        seen, torch.full((2,), TrustSettings().seen * 45 * (100 - 0.3)), rtol=1e-3, atol=0
    )
    first = fitter.energy(truth, truth, told, None, 0.01)["first"]
    torch.testing.assert_close(first, torch.zeros(2), atol=1e-3, rtol=0)
    far = replace(told, joints_cam=told.joints_cam + torch.tensor([0.0, 0.0, 2.0]))
    moved = fitter.energy(truth, truth, far, None, 0.01)
    depth = told.joints_cam[:, 0, 2]
    expected = TrustSettings().place * ((depth + 2).log() - depth.log()) / 0.15
    torch.testing.assert_close(moved["place"], expected, rtol=0.1, atol=0.3)
    torch.testing.assert_close(moved["first"], torch.zeros(2), atol=1e-3, rtol=0)


def test_found_joints_pull_those_who_have_some(
    body: Body, fitter: TrustingFitter, truth: BodyVariables
) -> None:
    answer = bent(truth, "left_elbow")
    told = belief(body, answer, seen=answer)
    points = BodyKeypoints(body, "coco17")
    px, _ = points(truth.betas, truth.pose_rotmat(), truth.transl(body))
    px = project(px, told.K)[0].numpy()
    given = found_joints(body, [Keypoints("coco17", px, np.ones(17, np.float32)), None])
    assert given is not None and given.confidence[1].sum() == 0
    before = elbow_error(body, answer, truth)
    after = elbow_error(body, fitter(answer, told, given), truth)
    assert after[0] < 0.5 * before[0] and after[1] > 0.8 * before[1]
    assert found_joints(body, [None, None]) is None
    mixed = [
        Keypoints(n, np.zeros((k, 2)), np.ones(k)) for n, k in (("coco17", 17), ("openpose25", 25))
    ]
    with pytest.raises(InputError, match="one set, found coco17 and openpose25"):
        found_joints(body, mixed)


# --- rivals from the bank -------------------------------------------------------------------------
def turned_away(truth: BodyVariables) -> BodyVariables:
    """An answer that is wrong about everything but the place: people look the other way."""
    about_y = roma.rotvec_to_rotmat(torch.tensor([0.0, 2.5, 0.0]))
    return bent(replace(truth, root_rotmat=about_y @ truth.root_rotmat), "left_hip", 1.2)


def exact_joints(body: Body, truth: BodyVariables) -> list[Keypoints]:
    points, _ = BodyKeypoints(body, "coco17")(truth.betas, truth.pose_rotmat(), truth.transl(body))
    px = project(points, camera_from_fov(50.0, SIZE).K.expand(2, 3, 3)).numpy()
    return [Keypoints("coco17", p, np.ones(17, np.float32)) for p in px]


def off(body: Body, found: BodyVariables, truth: BodyVariables) -> Tensor:
    a, b = (joints_of(body, v)[:, :24] for v in (found, truth))
    return (a - a[:, :1] - b + b[:, :1]).norm(dim=-1).mean(1)


def test_a_pose_of_the_bank_mends_an_answer_that_is_quite_wrong(
    body: Body, truth: BodyVariables
) -> None:
    wrong = turned_away(truth)
    said = replace(belief(body, wrong, wrong), depth=torch.full((2, 24), 0.4))
    found = found_joints(body, exact_joints(body, truth))
    prior, bank = load_pose_prior()
    stuck = TrustingFitter(body=body, prior=prior)(wrong, said, found)
    freed = TrustingFitter(body=body, prior=prior, bank=bank)(wrong, said, found)
    assert (off(body, freed, truth) < 0.75 * off(body, stuck, truth)).all()


def test_rivals_with_too_large_a_handicap_change_nothing(body: Body, truth: BodyVariables) -> None:
    wrong = turned_away(truth)
    said = belief(body, wrong, wrong)
    found = found_joints(body, exact_joints(body, truth))
    prior, bank = load_pose_prior()
    trust = TrustSettings(handicap=1e9, steps=(5, 5, 5))
    alone = TrustingFitter(body=body, prior=prior, trust=trust)(wrong, said, found)
    beside = TrustingFitter(body=body, prior=prior, bank=bank, trust=trust)(wrong, said, found)
    assert beside.body_pose.equal(alone.body_pose)
    assert beside.root_rotmat.equal(alone.root_rotmat)


def test_whoever_has_no_joints_has_no_rivals(body: Body, truth: BodyVariables) -> None:
    wrong = turned_away(truth)
    said = belief(body, wrong, wrong)
    found = found_joints(body, [exact_joints(body, truth)[0], None])
    prior, bank = load_pose_prior()
    trust = TrustSettings(steps=(30, 20, 20))
    alone = TrustingFitter(body=body, prior=prior, trust=trust)(wrong, said, found)
    beside = TrustingFitter(body=body, prior=prior, bank=bank, trust=trust)(wrong, said, found)
    assert not beside.root_rotmat[0].equal(alone.root_rotmat[0])
    assert beside.body_pose[1].equal(alone.body_pose[1])


# --- with the shipped network ---------------------------------------------------------------------
def test_exact_joints_improve_predictions(body: Body) -> None:
    predictor = meshreg.load_model()
    people = PeopleRecipe(seed=31_415, size=128, supersampling=1).people().render(range(12))
    pictures = [people.image[n].permute(1, 2, 0).numpy() for n in range(12)]
    cameras = [meshreg.Camera(K=people.K[n], size=(128, 128), source="") for n in range(12)]
    predicted = predictor.predict(pictures, camera=cameras)
    points, _ = BodyKeypoints(body, "coco17")(people.betas, people.pose_rotmat, people.transl)
    px = project(points, people.K)
    inside = ((px > -0.5) & (px < 127.5)).all(-1).float()
    joints = [Keypoints("coco17", p.numpy(), c.numpy()) for p, c in zip(px, inside, strict=True)]
    prior, bank = load_pose_prior()
    refined = refine_by_trust(
        predicted, joints, TrustingFitter(body=predictor.body, prior=prior, bank=bank)
    )

    def error(found: list[meshreg.Person]) -> float:
        joints = torch.from_numpy(np.stack([p.joints_cam[:24] for p in found]))
        true = people.joints_cam[:, :24]
        return float((joints - joints[:, :1] - true + true[:, :1]).norm(dim=-1).mean())

    assert error(refined) < 0.93 * error(predicted)
    assert refined[0].seen is None and refined[0].keypoints is joints[0]
    assert refined[0].reprojection_px.shape == (17, 2)


def test_words_of_the_network_are_in_the_pixels_of_the_picture() -> None:
    """A picture with a border around it: the same joints, moved by the border."""
    predictor = meshreg.load_model()
    image = meshreg.data.images.read_image(ASTRONAUT)
    box = [[10.0, 0.0, 500.0, 511.0]]
    camera = meshreg.geometry.cameras.guess_camera((512, 512))
    (plain,) = predictor.predict(image, box, camera)
    wide = np.zeros((512, 612, 3), np.uint8)
    wide[:, 100:] = image
    K = camera.K.clone()
    K[0, 2] += 100
    moved = meshreg.Camera(K=K, size=(512, 612), source="")
    (other,) = predictor.predict(wide, np.array(box) + [100, 0, 100, 0], moved)
    assert plain.seen is not None and other.seen is not None
    np.testing.assert_allclose(other.seen.points_px, plain.seen.points_px + [100, 0], atol=0.3)
    np.testing.assert_allclose(other.seen.points_scale_px, plain.seen.points_scale_px, rtol=0.02)
    assert plain.seen.points_px.min() > -60 and plain.seen.points_px.max() < 580
    assert 0.01 < plain.seen.across[1:].mean() < 0.3


def test_the_command_needs_no_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(ASTRONAUT), "--refine"]
    assert main([*words, f"--out={tmp_path / 'seen'}"]) == 0
    assert "trusted as far as the network is sure of it" in capsys.readouterr().out
    joints = ASTRONAUT.with_name("astronaut_keypoints.json")
    given = [*words, f"--keypoints={joints}", f"--out={tmp_path / 'given'}"]
    assert main(given) == 0
    assert main(["predict", str(ASTRONAUT), f"--keypoints={joints}", f"--out={tmp_path}"]) == 0
    seen, refined, plain = (
        meshreg.export.load_npz(tmp_path / folder / "astronaut_0.npz")
        for folder in ("seen", "given", ".")
    )
    assert len(seen.keypoints_px) == 0 and len(refined.keypoints_px) == 17
    sure = refined.keypoints_confidence > 0
    shown, _ = BodyKeypoints(load_body(), "coco17")(
        *(torch.from_numpy(x)[None] for x in (plain.betas, plain.pose_rotmat, plain.transl))
    )
    before = project(shown, torch.from_numpy(plain.K)[None])[0].numpy() - refined.keypoints_px
    after = refined.reprojection_px - refined.keypoints_px
    off = [np.linalg.norm(error[sure], axis=1).mean() for error in (before, after)]
    assert off[1] < 0.7 * off[0]
