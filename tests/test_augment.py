"""Changed pictures: whatever is known of them changes along."""

from dataclasses import replace

import pytest
import roma
import torch
from plain_people import plain_body, plain_people
from test_mixture import camera_of_box

from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.clothing.labels import Label
from meshreg.data.augment import Augmented, augmented, hidden, moved, recoloured
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.mirror import mirrored, mirrored_pose
from meshreg.data.sample import KEYPOINTS, Batch, with_vertices
from meshreg.errors import InputError
from meshreg.geometry.cameras import project

SIZE = 64
PLACES, FOUND = map_joints(SKELETONS["smplx45"], KEYPOINTS, approximate=True)
NOTHING = AugmentSettings(**dict.fromkeys(vars(AugmentSettings()), 0.0))


@pytest.fixture(scope="module")
def people() -> Batch:
    batch = plain_people(5, SIZE).render(range(6))
    labels = batch.labels.clone()
    arm = SKELETONS["smpl24"].index("left_elbow", "left_wrist", "left_hand")
    labels[torch.isin(batch.part, torch.tensor(arm))] = int(Label.LEFT_ARM)
    return replace(
        batch,
        labels=labels,
        vertices_cam=batch.vertices_cam[:, :0],
        # As if annotated: SMPL's own hips and knees, under their names in the other set.
        keypoints_px=batch.joints_px[:, PLACES],
        keypoints_cam=batch.joints_cam[:, PLACES],
        keypoints_weight=torch.rand(6, 49) * torch.tensor(FOUND),
    )


def everybody(batch: Batch) -> torch.Tensor:
    return torch.ones(len(batch), dtype=torch.bool)


def assert_same(a: Batch, b: Batch, tolerance: float = 0.0) -> None:
    for name, value in vars(a).items():
        torch.testing.assert_close(
            getattr(b, name), value, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: n + m
        )


# --- mirrors --------------------------------------------------------------------------------------
def test_two_mirrors_are_none(people: Batch) -> None:
    twice = mirrored(mirrored(people, everybody(people)), everybody(people))
    assert_same(people, twice, 2e-4)
    assert torch.equal(twice.labels, people.labels) and torch.equal(twice.part, people.part)
    some = torch.tensor([True, False] * 3)
    half = mirrored(people, some)
    assert torch.equal(half.image[1::2], people.image[1::2])
    assert torch.equal(half.image[::2], people.image[::2].flip(-1))


def test_the_mirrored_body_is_where_its_joints_are(people: Batch) -> None:
    other = mirrored(people, everybody(people))
    posed = plain_body()(other.betas, other.pose_rotmat, other.transl)
    torch.testing.assert_close(posed.joints, other.joints_cam, atol=2e-4, rtol=0)
    seen = project(posed.joints, other.K)
    near = other.joints_px.abs().amax(-1) < 500
    assert near.float().mean() > 0.9
    torch.testing.assert_close(seen[near], other.joints_px[near], atol=0.05, rtol=0)
    torch.testing.assert_close(other.K, camera_of_box(other), atol=2e-3, rtol=1e-4)
    assert (torch.linalg.det(other.pose_rotmat) - 1).abs().max() < 1e-4


def test_mirrored_vertices_are_the_mirrored_picture(people: Batch) -> None:
    """The vertices are the same points of space, whatever their order."""
    other = with_vertices(mirrored(people, everybody(people)), plain_body()).vertices_cam[0]
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    expected = with_vertices(people, plain_body()).vertices_cam[0] * mirror
    exact = "donot_use_mm_for_euclid_dist"
    assert torch.cdist(other, expected, compute_mode=exact).min(1).values.max() < 2e-4


def test_sides_change(people: Batch) -> None:
    other = mirrored(people, everybody(people))
    arm = (people.labels == int(Label.LEFT_ARM)).flip(-1)
    assert arm.any() and torch.equal(other.labels == int(Label.RIGHT_ARM), arm)
    knee, other_knee = SKELETONS["smpl24"].index("left_knee", "right_knee")
    assert torch.equal(other.part == other_knee, (people.part == knee).flip(-1))
    assert torch.equal(other.part == 255, (people.part == 255).flip(-1))
    left, right = SKELETONS["smplx45"].index("left_wrist", "right_wrist")
    assert torch.equal(other.joints_visible[:, right], people.joints_visible[:, left])


def test_a_mirrored_pose_turns_the_other_way() -> None:
    rotvec = torch.randn(5, 24, 3)
    flip = list(SKELETONS["smpl24"].flip)
    expected = rotvec[:, flip] * torch.tensor([1.0, -1.0, -1.0])
    found = mirrored_pose(roma.rotvec_to_rotmat(rotvec))
    torch.testing.assert_close(found, roma.rotvec_to_rotmat(expected), atol=1e-5, rtol=0)


def test_annotated_joints_move_with_those_of_the_body(people: Batch) -> None:
    for other in (
        mirrored(people, everybody(people)),
        moved(people, torch.full((6,), 0.8), torch.full((6, 2), 0.1)),
    ):
        known = other.keypoints_weight > 0
        assert known.any()
        torch.testing.assert_close(
            other.keypoints_px[known], other.joints_px[:, PLACES][known], atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(
            other.keypoints_cam[known], other.joints_cam[:, PLACES][known], atol=1e-5, rtol=0
        )
    twice = mirrored(mirrored(people, everybody(people)), everybody(people))
    assert torch.equal(twice.keypoints_weight, people.keypoints_weight)


# --- boxes ----------------------------------------------------------------------------------------
def test_joints_move_with_the_picture(people: Batch) -> None:
    """A bright cross at a joint is at the joint again in the new picture."""
    number = len(people)
    joint = SKELETONS["smplx45"].index("pelvis")[0]
    at = people.joints_px[:, joint]
    steps = torch.arange(SIZE)
    row = (steps[None, :, None] - at[:, 1, None, None]).abs()
    column = (steps[None, None] - at[:, 0, None, None]).abs()
    blob = 255 * torch.exp(-(row**2 + column**2) / 18)
    marked = replace(people, image=blob.to(torch.uint8)[:, None].expand(-1, 3, -1, -1))
    zoom = torch.linspace(0.8, 1.25, number)
    shift = 0.15 * torch.tensor([[1.0, -1], [-1, 0.5], [0, 0], [0.3, 0.6], [-0.5, 1], [1, 1]])
    other = moved(marked, zoom, shift)
    image = other.image[:, 0].float()
    mass = image.sum((1, 2))
    found = torch.stack(
        [(image.sum(1) * steps).sum(1) / mass, (image.sum(2) * steps).sum(1) / mass], 1
    )
    inside = ((other.joints_px[:, joint] > 9) & (other.joints_px[:, joint] < SIZE - 10)).all(1)
    assert inside.sum() >= 3
    torch.testing.assert_close(found[inside], other.joints_px[inside, joint], atol=0.15, rtol=0)
    torch.testing.assert_close(other.K, camera_of_box(other), atol=5e-3, rtol=1e-4)
    torch.testing.assert_close(
        project(other.joints_cam, other.K), other.joints_px, rtol=1e-3, atol=1
    )


def test_maps_move_with_the_picture(people: Batch) -> None:
    shift = torch.full((len(people), 2), 8 / SIZE)
    other = moved(people, torch.ones(len(people)), shift)
    assert torch.equal(other.labels[:, :-8, :-8], people.labels[:, 8:, 8:])
    assert torch.equal(other.image[..., :-8, :-8], people.image[..., 8:, 8:])
    assert (other.labels[:, -8:] == 255).all() and (other.part[:, -8:] == 255).all()
    assert not other.image[..., -8:].any() and not other.depth[:, -8:].any()
    outside = ((other.joints_px <= -0.5) | (other.joints_px >= SIZE - 0.5)).any(-1)
    assert not (outside & other.joints_visible).any()
    assert (people.joints_visible & ~other.joints_visible).any()


def test_no_change_is_none(people: Batch) -> None:
    same = augmented(people, NOTHING, torch.Generator())
    assert_same(people, same, 2e-3)
    assert torch.equal(same.image, people.image) and torch.equal(same.labels, people.labels)


# --- colours and things in front ------------------------------------------------------------------
def test_colours_change_only_as_far_as_allowed(people: Batch) -> None:
    grey = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)
    brighter = recoloured(grey, replace(NOTHING, brightness=0.2), torch.Generator())
    assert 80 <= int(brighter.min()) < 85 and 115 < int(brighter.max()) <= 120
    tinted = recoloured(grey, replace(NOTHING, tint=0.1), torch.Generator())
    assert (tinted[:, 0] != tinted[:, 1]).any()
    assert torch.equal(recoloured(grey, replace(NOTHING, contrast=0.5), torch.Generator()), grey)
    noisy = recoloured(grey, replace(NOTHING, noise=10.0), torch.Generator()).float()
    spread = noisy.flatten(1).std(1)
    assert spread.min() < 3 and 7 < spread.max() < 15


def test_what_is_hidden_is_unknown(people: Batch) -> None:
    covered = torch.zeros(len(people), SIZE, SIZE, dtype=torch.bool)
    covered[:, 20:50, 20:50] = True
    other = hidden(people, covered)
    assert (other.labels[covered] == 255).all() and (other.instance[covered] == 255).all()
    assert torch.equal(other.labels[~covered], people.labels[~covered])
    u, v = people.joints_px.unbind(-1)
    behind = (u > 20) & (u < 49) & (v > 20) & (v < 49)
    assert (behind & people.joints_visible).any()
    assert not (behind & other.joints_visible).any()
    far = (u < 19) | (u > 50) | (v < 19) | (v > 50)
    assert torch.equal((other.joints_visible & far), (people.joints_visible & far))


def test_chance_depends_on_seed_and_number(people: Batch) -> None:
    class Same:
        def at(self, number: int) -> Batch:
            return people

    one, two = (Augmented(Same(), AugmentSettings(), seed=seed).at(4) for seed in (1, 2))
    again = Augmented(Same(), AugmentSettings(), seed=1)
    assert_same(one, again.at(4))
    assert not torch.equal(one.image, two.image)
    assert not torch.equal(one.image, again.at(5).image)
    erased = Augmented(Same(), replace(NOTHING, erase=1.0, erase_size=0.4), seed=1).at(0)
    assert (erased.instance == 255).flatten(1).any(1).all()


@pytest.mark.parametrize(("name", "value"), [("mirror", 1.5), ("zoom", 0.9), ("noise", -1.0)])
def test_settings_that_cannot_be_meant(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"augment.{name} must be 0 to"):
        AugmentSettings(**{name: value})
