"""Outfits on bodies: what is promised about numbers, hems, batches, and poke-through."""

import pytest
import roma
import torch
from dressed import SKIRTED, TROUSERED, bank_poses, camera, in_front, plain, t_pose, wardrobe

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.fields import snapped
from meshreg.data.synthetic.garments import KINDS, LAYER, LAYERS, Garment, Outfit
from meshreg.data.synthetic.outfits import FREQUENCIES, sample_outfit
from meshreg.data.synthetic.people import BODY, SKIRT, DressedPeople
from meshreg.data.synthetic.streams import stream
from meshreg.data.synthetic.surface import Surface, look_at
from meshreg.geometry.mesh import face_normals
from meshreg.render.rasterizer import rasterizer


def drawn(seed: int, count: int) -> list[Outfit]:
    return [sample_outfit(stream(seed, i, "outfit")) for i in range(count)]


def seen_by(people: DressedPeople, size: int = 224) -> Surface:
    return look_at(people, camera(len(people.vertices), size), (size, size), rasterizer())


def test_the_same_seed_gives_the_same_outfit() -> None:
    assert drawn(5, 20) == drawn(5, 20)
    assert drawn(5, 20) != drawn(6, 20)


def test_outfits_follow_the_frequencies() -> None:
    kinds = [{g.kind for g in outfit.garments} for outfit in drawn(0, 3000)]
    share = sum("hair" in worn for worn in kinds) / len(kinds)
    assert abs(share - (1 - FREQUENCIES.hair["bald"])) < 0.015
    dresses = sum("dress_skirt" in worn for worn in kinds) / len(kinds)
    assert abs(dresses - FREQUENCIES.outfit["dress"]) < 0.02
    assert set().union(*kinds) == set(KINDS)


def test_two_garments_in_a_layer_are_refused() -> None:
    with pytest.raises(AssertionError, match="two garments"):
        Outfit((Garment("tee"), Garment("shirt")))


def test_nothing_worn_is_the_bare_body() -> None:
    people = in_front([plain()], bank_poses([77]))
    V = people.body_vertices.shape[1]
    torch.testing.assert_close(people.vertices[:, :V], people.body_vertices, atol=1e-5, rtol=0)
    assert (people.fields < 0).all()
    assert (people.layer_kind == -1).all() and (people.layer_label == 0).all()
    seen = seen_by(people)
    assert (seen.piece == BODY).all()
    assert (seen.layer[seen.hit] == -1).all()
    bare = {Label.FACE, Label.TORSO_SKIN, Label.LEFT_ARM, Label.RIGHT_ARM}
    assert set(seen.label[seen.hit].tolist()) <= bare | {Label.LEFT_LEG, Label.RIGHT_LEG}


def test_the_body_inside_is_the_bodys_own() -> None:
    body = wardrobe().body
    pose, betas = bank_poses([9, 90]), torch.randn(2, 10)
    transl = torch.randn(2, 3)
    people = wardrobe().dress([SKIRTED, TROUSERED], betas, pose, transl)
    expected = body(betas, pose, transl)
    torch.testing.assert_close(people.body_vertices, expected.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(people.joints, expected.joints, atol=1e-5, rtol=0)


def test_a_batch_is_its_people_one_by_one() -> None:
    outfits, pose = drawn(2, 5), bank_poses([1, 100, 300, 500, 900])
    betas = torch.randn(5, 10)
    together = wardrobe().dress(outfits, betas, pose, torch.zeros(5, 3))
    for i in range(5):
        alone = wardrobe().dress([outfits[i]], betas[i : i + 1], pose[i : i + 1], torch.zeros(1, 3))
        for name in ("vertices", "fields", "rest", "layer_label", "layer_kind"):
            torch.testing.assert_close(
                getattr(alone, name)[0], getattr(together, name)[i], atol=2e-5, rtol=0
            )


def test_extreme_bodies_and_poses_stay_finite() -> None:
    outfits = drawn(3, 8)
    betas = torch.randn(8, 10).sign() * 4
    pose = roma.random_rotmat((8, 24))
    people = wardrobe().dress(outfits, betas, pose, torch.zeros(8, 3))
    for name in ("vertices", "fields", "rest", "joints"):
        assert torch.isfinite(getattr(people, name)).all(), name
    assert (people.vertices - people.joints[:, :1]).norm(dim=2).max() < 3.5


def test_cloth_lies_outside_the_body() -> None:
    outfit = plain(Garment("leggings", thickness=0.004, looseness=0.0, wrinkles=0.0))
    people = in_front([outfit], t_pose())
    inside = people.fields[0, : people.body_vertices.shape[1], LAYER["bottom"]] > 0.02
    away = (people.vertices[0, : len(inside)] - people.body_vertices[0])[inside]
    down = torch.tensor([1.0, -1.0, -1.0])
    distance = (away * (wardrobe().at.outward[inside] * down)).sum(1)
    assert inside.sum() > 500 and (distance > 0.001).float().mean() > 0.97


def test_hems_are_where_the_outfit_says() -> None:
    people = in_front([TROUSERED], t_pose())
    seen = seen_by(people, 400)
    joints = wardrobe().body.joints_template
    height, side = seen.rest[0, ..., 1] - joints[1, 1], seen.rest[0, ..., 0].abs() - joints[16, 0]
    tee, trousers = (seen.label[0] == k for k in (Label.UPPER_CLOTHES, Label.PANTS))
    assert abs(float(height[tee].min()) + 0.04) < 0.004
    assert abs(float(side[tee].max()) - 0.6 * float(joints[18, 0] - joints[16, 0])) < 0.004
    assert abs(float(-height[trousers].max()) - 0.04) < 0.01  # where the tee ends
    ankle = float(joints[7, 1] - joints[1, 1])
    assert abs(float(height[trousers].min()) - ankle) < 0.004


def test_a_skirt_ends_at_its_hem() -> None:
    people = in_front([plain(Garment("skirt", leg=1.0))], t_pose())
    seen = seen_by(people, 400)
    skirt = (seen.label[0] == Label.SKIRT) & (seen.piece[0] == SKIRT)
    knee = wardrobe().body.joints_template[4, 1]
    assert abs(float(seen.rest[0, ..., 1][skirt].min() - knee)) < 0.01


def test_snapping_keeps_the_order() -> None:
    values = torch.linspace(0, 1, 500)[None]
    moved = snapped(values, torch.tensor([[0.4]]), torch.tensor([[True]]), 0.03)
    assert (moved.diff() >= 0).all()
    assert ((moved - 0.4).abs() >= 0.0019).all()
    assert ((moved < 0.4) == (values < 0.4)).all()
    assert torch.equal(
        snapped(values, torch.tensor([[0.4]]), torch.tensor([[False]]), 0.03), values
    )


def poke_through(people: DressedPeople, size: int = 224) -> tuple[int, int]:
    """Pixels that show body though a skirt's outside lies closely behind; pixels of the skirt."""
    K = camera(len(people.vertices), size)
    seen = look_at(people, K, (size, size), rasterizer())
    found = rasterizer().fragments(
        people.vertices, people.faces, K, (size, size), faces_per_pixel=4
    )
    packed = found.pix_to_face.clamp(min=0)
    person, face = packed // len(people.faces), packed % len(people.faces)
    corners = people.faces[face]
    field = people.fields[person[..., None], corners][..., LAYER["skirt"]]
    field = (field * found.bary_coords).sum(-1)
    normals = face_normals(people.vertices, people.faces)[person, face]
    outside = normals[..., 2] < 0
    is_skirt = (found.pix_to_face >= 0) & (people.piece[face] == SKIRT) & (field > 0) & outside
    close = found.zbuf - seen.depth[..., None] < 0.05
    hidden = (is_skirt & close).any(-1)
    shows_body = seen.hit & (seen.piece == BODY) & (seen.layer < LAYER["skirt"])
    on_leg = (seen.part == 1) | (seen.part == 2) | (seen.part == 4) | (seen.part == 5)
    return int((shows_body & hidden & on_leg).sum()), int((seen.piece == SKIRT).sum())


def test_legs_do_not_poke_through_skirts() -> None:
    poked = covered = 0
    for start in range(0, 48, 8):
        outfits = [
            plain(Garment("skirt", leg=0.5 + 0.15 * i, looseness=0.1 * i, flare=0.01 * i))
            for i in range(8)
        ]
        people = in_front(outfits, bank_poses([(start + i) * 21 for i in range(8)]))
        bad, all_of_them = poke_through(people)
        poked, covered = poked + bad, covered + all_of_them
    assert covered > 50_000
    assert poked < 0.005 * covered, f"{poked} of {covered} pixels"


def test_the_label_of_each_layer_is_its_garments() -> None:
    people = in_front([SKIRTED, TROUSERED], t_pose(2))
    labels = people.layer_label
    assert labels[0, LAYER["skirt"]].tolist() == [Label.SKIRT] * 2
    assert labels[1, LAYER["shoes"]].tolist() == [Label.LEFT_SHOE, Label.RIGHT_SHOE]
    assert KINDS[people.layer_kind[1, LAYER["top"]]] == "tee"
    worn = {LAYERS[i] for i in range(len(LAYERS)) if people.layer_kind[0, i] >= 0}
    assert worn == {"skirt", "tucked", "shoes", "hair"}
