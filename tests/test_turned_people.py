"""People drawn by turned cameras are those that a warp of the full picture would show."""

from dataclasses import replace

import numpy as np
import torch
from plain_people import BareBodies, plain_body, plain_planner
from torch import Tensor

from meshreg.data.centred import centred
from meshreg.data.sample import HIDDEN_LABEL, Batch
from meshreg.data.synthetic.cameras import crop_K
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.data.synthetic.scene import ScenePlan
from meshreg.data.synthetic.turned import TurnedGenerator
from meshreg.geometry.cameras import project
from meshreg.geometry.turned_crop import crop_towards

SIZE, WIDE = 64, 2.5  # pixels; how much more a wide cut shows than the box


def plans() -> list[ScenePlan]:
    """people far off the axis, whole in their pictures as far as that goes."""
    planner = plain_planner(
        4, size=SIZE, fov_deg=(80.0, 90.0), usual_fov_share=0.0, central_share=0.0,
        apparent_height=(0.4, 0.8), inside_share=1.0, people_weights=(0.0, 1.0),
    )  # fmt: skip
    found = [planner.plan(index) for index in range(12)]
    offset = [np.abs(plan.box[:2] - plan.K_full[:2, 2]).max() / plan.K_full[0, 0] for plan in found]
    return [plan for plan, far in zip(found, offset, strict=True) if far > 0.4][:4]


def draw(some: list[ScenePlan]) -> tuple[Batch, Batch]:
    bare = BareBodies(plain_body())
    turned = TurnedGenerator(bare, plain_body()).render(some)
    return bare.render(some), replace(turned, vertices_cam=torch.zeros(len(some), 0, 3))


def test_the_turned_camera_sees_the_same_people() -> None:
    some = plans()
    assert len(some) == 4
    plain, turned = draw(some)
    posed = plain_body()(turned.betas, turned.pose_rotmat, turned.transl)
    torch.testing.assert_close(posed.joints, turned.joints_cam, atol=1e-5, rtol=0)
    projected = project(turned.joints_cam, turned.K)
    torch.testing.assert_close(projected, turned.joints_px, atol=1e-3, rtol=1e-4)
    middle = torch.full((4, 2), (SIZE - 1) / 2)
    torch.testing.assert_close(turned.K[:, :2, 2], middle, atol=1e-4, rtol=0)
    assert torch.equal(turned.K, turned.K_full)
    # Cut out first and turned then, they are in the same places; only corners are missing.
    warped = centred(replace(plain, vertices_cam=turned.vertices_cam), "minimal")
    torch.testing.assert_close(warped.K, turned.K, atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(warped.joints_cam, turned.joints_cam, atol=1e-4, rtol=0)
    torch.testing.assert_close(warped.pose_rotmat, turned.pose_rotmat, atol=1e-5, rtol=0)
    assert (turned.pose_rotmat[:, 0] - plain.pose_rotmat[:, 0]).abs().amax() > 0.2


def test_only_what_the_full_picture_lacks_is_black() -> None:
    """Against a warp from a cut that is so wide that no corner is missing."""
    some = plans()
    wide = round(SIZE * WIDE)
    boxes = [np.array([*plan.box[:2], plan.box[2] * WIDE]) for plan in some]
    wider = [
        replace(plan, size=wide, box=box, K=crop_K(plan.K_full, box, wide))
        for plan, box in zip(some, boxes, strict=True)
    ]
    cut, turned = BareBodies(plain_body()).render(wider), draw(some)[1]
    edge = (wide - SIZE) / 2 - 0.5
    inner = torch.tensor([edge, edge, edge + SIZE, edge + SIZE]).double().expand(4, 4)
    crop = crop_towards(inner, cut.K.double(), SIZE, fit="area")
    expected = crop.labels(cut.instance, 0)
    same = (expected > 0) == (turned.instance > 0)
    assert (same.float().mean((1, 2)) > 0.98).all()
    seen = torch.cat([_seen(plan) for plan in some])
    assert 0.5 < seen.float().mean() < 0.98
    assert (turned.labels[~seen] == HIDDEN_LABEL).all()
    assert torch.equal(turned.image[:, 0] > 0, seen & (turned.instance > 0))
    column, row = turned.joints_px.round().long().clamp(0, SIZE - 1).unbind(-1)
    number = torch.arange(4)[:, None]
    assert not (turned.joints_visible & ~seen[number, row, column]).any()
    assert turned.joints_visible.float().mean() > 0.3
    # A ready-cut picture lacks its corners besides.
    ones = torch.ones(4, SIZE, SIZE, dtype=torch.uint8)
    square = torch.tensor([-0.5, -0.5, SIZE - 0.5, SIZE - 0.5]).double().expand(4, 4)
    K = torch.stack([torch.from_numpy(plan.K) for plan in some])
    reached = crop_towards(square, K, SIZE, fit="area").labels(ones, 0) > 0
    assert seen.float().mean() - (seen & reached).float().mean() > 0.005


def _seen(plan: ScenePlan) -> Tensor:
    """What a warp of the whole picture would fill."""
    full = torch.ones(1, *plan.full_size, dtype=torch.uint8)
    box = torch.from_numpy(np.concatenate([plan.box[:2] - plan.box[2] / 2] * 2))[None]
    box[:, 2:] += plan.box[2]
    return (
        crop_towards(box, torch.from_numpy(plan.K_full)[None], plan.size, fit="area").labels(
            full, 0
        )
        > 0
    )


def test_what_no_turned_camera_can_see_is_drawn_as_planned() -> None:
    plan = plans()[0]
    box = np.array([*plan.box[:2], plan.box[2] * 40])
    huge = replace(plan, box=box, K=crop_K(plan.K_full, box, SIZE))
    plain, turned = draw([huge])
    assert torch.equal(plain.image, turned.image) and torch.equal(plain.transl, turned.transl)


def test_a_recipe_can_ask_for_it() -> None:
    plain, turned = (
        PeopleRecipe(seed=3, size=32, supersampling=1, turned=turned).people().render([0])
        for turned in (False, True)
    )
    torch.testing.assert_close(turned.K[0, :2, 2], torch.tensor([15.5, 15.5]), atol=1e-4, rtol=0)
    assert not torch.equal(plain.image, turned.image)
    torch.testing.assert_close(
        turned.joints_cam.norm(dim=-1), plain.joints_cam.norm(dim=-1), atol=1e-3, rtol=0
    )
