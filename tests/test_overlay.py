"""Overlays and views of shapes whose pixels can be worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render import painting
from meshreg.render.annotate import PAPER
from meshreg.render.overlay import draw_overlay, draw_view
from meshreg.render.painting import Scene, render_rgba, window_K
from meshreg.render.rasterizer import rasterizer
from meshreg.render.shading import shade, studio

H, W = 48, 64
K = torch.tensor([[100.0, 0, 31.5], [0, 100.0, 23.5], [0, 0, 1]])
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def noise(height: int = H, width: int = W) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def at_pixels(corners_px: list[tuple[float, float]], depth: float = 2.0) -> Tensor:
    """Points of one depth that K projects to the given pixels."""
    pixels = torch.tensor([(u, v, 1.0) for u, v in corners_px], dtype=torch.float64)
    return (depth * pixels @ torch.linalg.inv(K.double()).T).float()


def square(low: float, high: float, depth: float = 2.0) -> tuple[Tensor, Tensor]:
    """A square as a fan around an odd inner point, so that no inner edge meets a sample."""
    inner = (low + 0.4371 * (high - low), low + 0.5713 * (high - low))
    corners = [(low, low), (low, high), (high, high), (high, low), inner]
    return at_pixels(corners, depth), torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])


def coverage(verts: Tensor, faces: Tensor, supersample: int) -> Tensor:
    scene = Scene(verts, faces, torch.ones(len(faces), 3))
    window = (0, 0, W, H)
    rgba = render_rgba(scene, K, window, studio, supersample=supersample, rasterizer=rasterizer())
    return rgba[..., 3]


def ball(center: tuple[float, float, float], radius: float) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    verts = torch.from_numpy(mesh.vertices.copy()).float() + torch.tensor(center)
    return verts, torch.from_numpy(mesh.faces.copy())


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_a_square_of_whole_pixels_is_covered_exactly(supersample: int) -> None:
    expected = torch.zeros(H, W)
    expected[10:20, 10:20] = 1
    assert torch.equal(coverage(*square(9.5, 19.5), supersample), expected)


def test_half_covered_pixels_are_half_opaque() -> None:
    expected = torch.zeros(H, W)
    expected[10:20, 10:20] = 1
    expected[20, 10:20] = expected[10:20, 20] = 0.5
    expected[20, 20] = 0.25
    torch.testing.assert_close(coverage(*square(9.5, 20.0), 2), expected)


def test_coverage_of_a_triangle_matches_its_area() -> None:
    corners = [(5.3, 4.1), (20.7, 44.2), (58.9, 30.6)]
    (a, b), (c, d), (e, f) = corners
    area = abs((c - a) * (f - b) - (e - a) * (d - b)) / 2
    found = coverage(at_pixels(corners), torch.tensor([[0, 1, 2]]), 4)
    assert found.sum().item() == pytest.approx(area, rel=0.01)
    edge = (found > 0) & (found < 1)
    assert 50 < edge.sum() < 300  # smooth edges, and only there


@pytest.mark.parametrize("supersample", [1, 2])
def test_alpha_blends_inside_and_leaves_every_bit_outside(supersample: int) -> None:
    image = noise()
    verts, faces = square(9.5, 19.5)
    full = draw_overlay(image, verts, faces, K, color=RED, alpha=1.0, supersample=supersample)
    half = draw_overlay(image, verts, faces, K, color=RED, alpha=0.5, supersample=supersample)
    inside = np.zeros((H, W), bool)
    inside[10:20, 10:20] = True
    np.testing.assert_array_equal(full[~inside], image[~inside])
    np.testing.assert_array_equal(half[~inside], image[~inside])
    mixed = (full[inside].astype(float) + image[inside]) / 2
    assert np.abs(half[inside] - mixed).max() <= 1
    assert half.dtype == np.uint8 and half is not image
    np.testing.assert_array_equal(image, noise())


def test_a_ball_hides_the_wall_behind_it() -> None:
    wall, wall_faces = square(4.5, 40.5, depth=3.0)
    ball_verts, ball_faces = ball((0.0, 0.0, 2.0), 0.1)  # radius 5 px around (31.5, 23.5)
    verts = torch.cat((wall, ball_verts))
    faces = torch.cat((wall_faces, ball_faces + len(wall)))
    gray = np.full((H, W, 3), 128, np.uint8)
    together = draw_overlay(gray, verts, faces, K)
    wall_only = draw_overlay(gray, wall, wall_faces, K)
    ball_only = draw_overlay(gray, ball_verts, ball_faces, K)
    rows, columns = np.mgrid[:H, :W]
    distance = np.hypot(columns - 31.5, rows - 23.5)
    np.testing.assert_array_equal(together[distance < 4], ball_only[distance < 4])
    np.testing.assert_array_equal(together[distance > 6], wall_only[distance > 6])
    behind = draw_overlay(gray, torch.cat((wall, ball_verts + torch.tensor([0, 0, 2.0]))), faces, K)
    hidden = (columns < 40) & (rows < 40)
    np.testing.assert_array_equal(behind[hidden], wall_only[hidden])


def test_people_share_one_depth_buffer_and_differ_in_color() -> None:
    near, faces = square(9.5, 29.5, depth=2.0)
    far, _ = square(19.5, 39.5, depth=3.0)
    image = np.zeros((H, W, 3), np.uint8)
    for people, colors in (([near, far], [RED, BLUE]), ([far, near], [BLUE, RED])):
        drawn = draw_overlay(image, people, faces, K, color=colors, alpha=1.0)
        assert drawn[25, 25].argmax() == 0, "the near red square wins whatever the order"
        assert drawn[35, 35].argmax() == 2
    batch = draw_overlay(image, torch.stack([near, far]), faces, K, color=[RED, BLUE], alpha=1.0)
    as_list = draw_overlay(image, [near, far], faces, K, color=[RED, BLUE], alpha=1.0)
    np.testing.assert_array_equal(batch, as_list)
    own = draw_overlay(image, [near, far], faces, K, alpha=1.0)
    assert own[15, 15].argmax() == 2 and own[35, 35].argmax() == 0  # light blue, then beige


def test_nothing_to_draw_returns_the_photo() -> None:
    image = noise()
    verts, faces = square(9.5, 19.5)
    offsets = ([50.0, 0, 0], [0, -50.0, 0], [0, 0, -10.0])  # right of, above, behind the camera
    for offset in offsets:
        drawn = draw_overlay(image, verts + torch.tensor(offset), faces, K)
        np.testing.assert_array_equal(drawn, image)
    np.testing.assert_array_equal(draw_overlay(image, [], faces, K), image)
    np.testing.assert_array_equal(draw_overlay(image, verts, faces, K, alpha=0.0), image)


def test_a_mesh_that_leaves_the_image_is_cut_at_the_border() -> None:
    verts, faces = square(-20.5, 200.5)
    drawn = draw_overlay(noise(), verts, faces, K, alpha=1.0)
    assert (drawn != noise()).any(axis=2).mean() > 0.99


def test_no_touched_pixel_is_left_out() -> None:
    faces = torch.tensor([[0, 1, 2]])
    for corners in (torch.rand(8, 3, 2) * 24 + 12).tolist():
        verts = at_pixels([(u, v) for u, v in corners])
        drawn = draw_overlay(np.zeros((H, W, 3), np.uint8), verts, faces, K, alpha=1.0)
        touched = coverage(verts, faces, 2).numpy() > 0
        np.testing.assert_array_equal(drawn.any(axis=2), touched)


def test_a_floor_that_reaches_behind_the_camera_is_cut() -> None:
    floor = torch.tensor([[-9.0, 0.2, -1.0], [9.0, 0.2, -1.0], [9.0, 0.2, 50.0], [-9.0, 0.2, 50.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    drawn = draw_overlay(np.zeros((H, W, 3), np.uint8), floor, faces, K, alpha=1.0)
    horizon = 23.5 + 100 * 0.2 / 50  # nothing is seen above the far end, everything below it
    assert not drawn[: int(horizon)].any()
    assert drawn[int(horizon) + 2 :].all()


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    verts, faces = ball((0.02, 0.01, 2.0), 0.3)
    whole = draw_overlay(noise(), verts, faces, K)
    np.testing.assert_array_equal(draw_overlay(noise(), verts, faces, K), whole)  # deterministic
    monkeypatch.setattr(painting, "BAND_PIXELS", 1000)
    banded = draw_overlay(noise(), verts, faces, K)
    different = (np.abs(banded.astype(int) - whole) > 2).any(axis=2)
    assert different.mean() < 0.002  # an edge sample may round the other way


def test_the_given_rasterizer_draws() -> None:
    """A stand-in that covers every sample shows what it was asked for."""
    asked = {}

    class Everything(type(rasterizer())):
        def fragments(self, verts_cam, faces, K, size, **_):
            asked.update(K=K, size=size)
            return SimpleNamespace(
                pix_to_face=torch.zeros(1, *size, 1, dtype=torch.int64),
                bary_coords=torch.full((1, *size, 1, 3), 1 / 3),
            )

    verts, faces = square(9.5, 19.5)
    drawn = draw_overlay(
        noise(), verts, faces, K, alpha=1.0, supersample=2, rasterizer=Everything()
    )
    changed = (drawn != noise()).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert asked["size"][0] == 2 * (np.ptp(rows) + 1) and asked["size"][1] == 2 * (
        np.ptp(columns) + 1
    )
    top_left = asked["K"][0].double() @ verts[0].double() / 2.0
    window = np.array([columns.min(), rows.min()])
    np.testing.assert_allclose(top_left[:2], (9.5 - window + 0.5) * 2 - 0.5, atol=1e-4)


def test_window_K_follows_the_pixel_centre_rule() -> None:
    point = torch.tensor([0.13, -0.21, 2.0])
    u, v, _ = (K @ point / 2.0).tolist()
    found = (window_K(K, 7, 3, 4) @ point / 2.0).tolist()
    assert found == pytest.approx([(u - 7 + 0.5) * 4 - 0.5, (v - 3 + 0.5) * 4 - 0.5, 1.0], abs=1e-4)


def test_light_comes_from_above_and_is_never_blown_out() -> None:
    verts, faces = ball((0.0, 0.0, 2.0), 0.2)  # radius 10 px
    drawn = draw_overlay(np.zeros((H, W, 3), np.uint8), verts, faces, K, alpha=1.0).astype(int)
    upper, lower = drawn[17, 31].sum(), drawn[30, 31].sum()
    left, right = drawn[23, 25].sum(), drawn[23, 38].sum()
    assert upper > 1.15 * lower and left > 1.03 * right
    center = drawn[14:34, 22:42]
    assert (center == 255).all(axis=2).mean() < 0.02
    assert center[7:13, 7:13].min() > 60


def test_the_inside_of_an_open_mesh_is_lit_like_its_outside() -> None:
    verts, faces = square(9.5, 19.5)
    image = np.zeros((H, W, 3), np.uint8)
    front = draw_overlay(image, verts, faces, K)
    np.testing.assert_array_equal(front, draw_overlay(image, verts, faces.flip(1), K))
    assert front[15, 15].min() > 60


def test_the_sky_is_brighter_than_the_ground() -> None:
    turned_away = torch.tensor([[0.1, -0.3, 0.95], [0.1, 0.3, 0.95]])  # no lamp reaches these two
    sky, ground = shade(turned_away, torch.tensor([[0, 0, -1.0]] * 2), torch.ones(2, 3)).tolist()
    assert sky[0] > 1.1 * ground[0] > 0.3


def test_shading_is_finite_for_missing_normals() -> None:
    color = shade(torch.zeros(2, 3), torch.tensor([[0, 0, -1.0]] * 2), torch.ones(2, 3))
    assert color.isfinite().all() and (color > 0).all()


def signpost() -> tuple[Tensor, Tensor]:
    """A post with a head (high), a nose (towards the camera) and an arm (to the right)."""
    parts = [
        trimesh.creation.box(extents=(0.1, 1.6, 0.1)),
        trimesh.creation.box(extents=(0.1, 0.1, 0.6)).apply_translation((0, -0.7, -0.3)),
        trimesh.creation.box(extents=(0.4, 0.1, 0.1)).apply_translation((0.2, -0.2, 0)),
    ]
    mesh = trimesh.util.concatenate(parts)
    verts = torch.from_numpy(mesh.vertices.copy()).float() + torch.tensor([0.3, -0.2, 4.0])
    return verts, torch.from_numpy(mesh.faces.copy())


def extents_of_ink(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Where the mesh is: its mask, and the column of its post (the lowest tenth of it)."""
    ink = np.ptp(picture.astype(int), axis=2) > 15  # the shadow is grey, the body is not
    rows = np.flatnonzero(ink.any(axis=1))
    low = ink[int(rows[-1] - 0.1 * len(rows)) : rows[-1] + 1]
    return ink, float(np.nonzero(low)[1].mean())


@pytest.mark.parametrize(
    ("azimuth", "nose_side", "arm_side"),
    [(0.0, 0, 1), (90.0, -1, 0), (-90.0, 1, 0), (180.0, 0, -1)],
)
def test_side_views_are_upright_and_the_right_way_round(
    azimuth: float, nose_side: int, arm_side: int
) -> None:
    verts, faces = signpost()
    picture = draw_view(verts, faces, (120, 100), azimuth_deg=azimuth, color=RED)
    assert picture.shape == (120, 100, 3) and picture.dtype == np.uint8
    ink, post = extents_of_ink(picture)
    rows = np.flatnonzero(ink.any(axis=1))
    high = rows[0] + np.arange(round(0.12 * len(rows)))
    middle = rows[0] + np.arange(round(0.3 * len(rows)), round(0.5 * len(rows)))

    def side(where: np.ndarray) -> int:
        reach = np.nonzero(ink[where])[1].mean() - post
        return 0 if abs(reach) < 3 else int(np.sign(reach))

    assert side(high) == nose_side
    assert side(middle) == arm_side


def test_top_view_shows_the_photo_s_depth_upwards() -> None:
    verts, faces = signpost()
    picture = draw_view(verts, faces, (100, 100), azimuth_deg=0.0, elevation_deg=90.0, color=RED)
    ink, _ = extents_of_ink(picture)
    rows, columns = np.nonzero(ink)
    assert np.ptp(rows) > np.ptp(columns), "the nose is the longest part"
    arm_row = np.median(rows[columns > columns.min() + 0.6 * np.ptp(columns)])
    assert arm_row < rows.mean(), "the nose reaches towards the bottom, the camera's side"


def test_views_frame_the_mesh() -> None:
    verts, faces = signpost()
    for azimuth, elevation in ((0.0, 0.0), (90.0, 0.0), (30.0, 40.0), (0.0, 90.0), (200.0, -30.0)):
        picture = draw_view(verts, faces, (90, 130), azimuth_deg=azimuth, elevation_deg=elevation)
        border = np.ones((90, 130), bool)
        border[3:-3, 3:-3] = False
        assert np.ptp(picture[border].astype(int), axis=1).max() == 0, "cut at the border"
        ink, _ = extents_of_ink(picture)
        rows, columns = np.nonzero(ink)
        assert np.ptp(rows) > 0.5 * 90 or np.ptp(columns) > 0.5 * 130
    assert (draw_view([], faces, (5, 6)) == PAPER).all()


def test_wrong_input_is_refused_with_advice() -> None:
    verts, faces = square(9.5, 19.5)
    for image in (np.zeros((H, W, 3)), np.zeros((H, W), np.uint8), np.zeros((H, W, 4), np.uint8)):
        with pytest.raises(InputError, match="uint8"):
            draw_overlay(image, verts, faces, K)
    with pytest.raises(InputError, match="alpha"):
        draw_overlay(noise(), verts, faces, K, alpha=1.5)
    with pytest.raises(InputError, match="supersample"):
        draw_view(verts, faces, (20, 20), supersample=0)
    with pytest.raises(InputError, match="finite"):
        draw_overlay(noise(), verts * float("nan"), faces, K)
