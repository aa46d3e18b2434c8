"""Labels per pixel against a ray caster that knows nothing of rasterisers."""

import numpy as np
import pytest
import torch
from dressed import SKIRTED, TROUSERED, bank_poses, camera, in_front, plain, t_pose
from reference.raycast import label_of_ray

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.garments import Garment
from meshreg.data.synthetic.outfits import sample_outfit
from meshreg.data.synthetic.people import BODY
from meshreg.data.synthetic.streams import stream
from meshreg.data.synthetic.surface import look_at, outermost
from meshreg.render.rasterizer import rasterizer

SIZE = 160


@pytest.fixture(scope="module")
def crowd():
    outfits = [SKIRTED, TROUSERED, *(sample_outfit(stream(1, i, "outfit")) for i in range(4))]
    people = in_front(outfits, bank_poses([3, 40, 200, 333, 512, 800]))
    K = camera(len(outfits), SIZE)
    return people, K, look_at(people, K, (SIZE, SIZE), rasterizer())


def test_labels_agree_with_rays(crowd) -> None:
    people, K, seen = crowd
    rng = np.random.default_rng(0)
    agreed = total = 0
    for person in range(len(people.vertices)):
        covered = seen.hit[person].nonzero().numpy()
        for v, u in rng.choice(covered, 170, replace=False):
            ray = np.linalg.solve(K[person].double().numpy(), [u, v, 1.0])
            label, depth, piece = label_of_ray(people, person, ray)
            total += 1
            if label == int(seen.label[person, v, u]):
                agreed += 1
                assert abs(depth - float(seen.depth[person, v, u])) < 1e-3
                assert piece == int(seen.piece[person, v, u])
                continue
            around = seen.label[person, max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
            assert label in around, f"{Label(label).name} is nowhere near {u}, {v}"
    assert agreed >= 0.999 * total, f"{agreed} of {total}"


def test_where_nothing_is_hit_all_is_zero(crowd) -> None:
    _, _, seen = crowd
    away = ~seen.hit
    assert away.any() and seen.hit.any()
    for name in ("label", "layer", "piece", "part", "depth"):
        assert (getattr(seen, name)[away] == 0).all(), name
    assert (seen.normal[away] == 0).all() and (seen.rest[away] == 0).all()
    assert (seen.label[seen.hit] > 0).all()


def test_normals_are_unit_and_face_the_camera(crowd) -> None:
    _, K, seen = crowd
    normals = seen.normal[seen.hit]
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(normals)))
    person, v, u = seen.hit.nonzero().T
    pixels = torch.stack([u, v, torch.ones_like(u)], 1).float()
    rays = (torch.linalg.inv(K)[person] @ pixels[..., None])[..., 0]
    assert ((normals * rays).sum(1) <= 1e-3).all()


def test_normals_follow_depth(crowd) -> None:
    """On smooth skin, the slope of the depth map says the same as the normal."""
    people, K, _ = crowd
    big = 320
    seen = look_at(people, camera(len(K), big), (big, big), rasterizer())
    inverse = torch.linalg.inv(camera(1, big))[0]
    v, u = torch.meshgrid(torch.arange(big), torch.arange(big), indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], -1).float() @ inverse.T
    points = rays * seen.depth[..., None]
    across = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    slope = torch.nn.functional.normalize(torch.linalg.cross(down, across), dim=-1)
    smooth = (across[..., 2].abs() < 0.01) & (down[..., 2].abs() < 0.01)
    inner = seen.hit[:, 1:-1, 1:-1] & smooth & (seen.depth[:, 1:-1, 1:-1] > 0)
    cosine = (slope * seen.normal[:, 1:-1, 1:-1]).sum(-1)[inner]
    assert cosine.median() > 0.97


def test_left_and_right_are_the_persons_own() -> None:
    people = in_front([TROUSERED], t_pose())
    seen = look_at(people, camera(1), (224, 224), rasterizer())
    columns = torch.arange(224).expand(224, 224)
    for left, right in (
        (Label.LEFT_ARM, Label.RIGHT_ARM),
        (Label.LEFT_SHOE, Label.RIGHT_SHOE),
    ):
        # Seen from the front, the person's left is on the right of the picture.
        assert columns[seen.label[0] == left].min() > columns[seen.label[0] == right].max()


def test_symmetric_outfits_mirror() -> None:
    smooth = plain(
        Garment("trousers", leg=1.9, looseness=0.5, wrinkles=0.0),
        Garment("tee", hem=-0.03, sleeve=0.6, vee=0.05, looseness=0.5, wrinkles=0.0),
        Garment("shoes", leg=2.1, thickness=0.008),
        Garment("hair", thickness=0.015, wrinkles=0.0),
        Garment("sunglasses"),
    )
    seen = look_at(in_front([smooth], t_pose()), camera(1), (224, 224), rasterizer())
    flip = torch.arange(20)
    for left in (Label.LEFT_ARM, Label.LEFT_LEG, Label.LEFT_SHOE):
        flip[left], flip[left + 1] = left + 1, int(left)
    mirrored = flip[seen.label[0].flip(1)]
    covered = seen.hit[0] | seen.hit[0].flip(1)
    assert (mirrored == seen.label[0])[covered].float().mean() > 0.99


def test_a_cut_piece_shows_what_is_behind() -> None:
    """Below the hem of a short skirt, where the full skirt's mesh goes on, legs are seen."""
    people = in_front([plain(Garment("skirt", leg=0.6))], t_pose())
    seen = look_at(people, camera(1), (224, 224), rasterizer())
    hip = float(wardrobe_hip())
    below = seen.hit[0] & (seen.rest[0, ..., 1] < hip - 0.30)
    assert below.sum() > 300
    assert (seen.piece[0][below] == BODY).all()
    legs = (seen.label[0] == Label.LEFT_LEG) | (seen.label[0] == Label.RIGHT_LEG)
    assert legs[below].all()


def wardrobe_hip() -> torch.Tensor:
    from dressed import wardrobe

    return wardrobe().body.joints_template[1, 1]


def test_the_part_is_the_joint_that_moves_the_point_most() -> None:
    people = in_front([plain()], t_pose())
    seen = look_at(people, camera(1), (224, 224), rasterizer())
    highest = seen.part[0][seen.hit[0] & (seen.rest[0, ..., 1] > 0.62)]
    assert (highest == 15).all()
    knee = seen.hit[0] & (seen.rest[0, ..., 1].sub(-0.6).abs() < 0.03)
    assert set(seen.part[0][knee].tolist()) == {4, 5}


def test_the_outermost_layer_wins() -> None:
    fields = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, 0.0], [1.0, 1.0, -1.0, -1.0]])
    assert outermost(fields).tolist() == [2, -1, 1]
