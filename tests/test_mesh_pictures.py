"""Normals and wire nets against geometry worked out by hand."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.overlay import draw_normals, draw_wireframe

H, W = 60, 80
K = torch.tensor([[100.0, 0, 39.5], [0, 100.0, 29.5], [0, 0, 1]])
BLACK = np.zeros((H, W, 3), np.uint8)
WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)
ROWS, COLUMNS = np.mgrid[:H, :W]


def at_pixels(corners_px: list[tuple[float, float]], depths: list[float] | float = 2.0) -> Tensor:
    """Points that K projects to the given pixels."""
    pixels = torch.tensor([(u, v, 1.0) for u, v in corners_px], dtype=torch.float64)
    depth = torch.tensor(depths, dtype=torch.float64).reshape(-1, 1)
    return (depth * pixels @ torch.linalg.inv(K.double()).T).float()


def ball(center: tuple[float, float, float], radius: float) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    verts = torch.from_numpy(mesh.vertices.copy()).float() + torch.tensor(center)
    return verts, torch.from_numpy(mesh.faces.copy())


def ball_normals(center: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel's ray meets a ball: how deep inside the outline, and the normal there."""
    rays = np.stack(((COLUMNS - 39.5) / 100, (ROWS - 29.5) / 100, np.ones((H, W))), axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = rays @ center
    missed = np.linalg.norm(along[..., None] * rays - center, axis=-1)
    back = np.sqrt(np.clip(radius**2 - missed**2, 0, None))
    return missed / radius, ((along - back)[..., None] * rays - center) / radius


def segment_distance(a: tuple[float, float], b: tuple[float, float], fine: int) -> np.ndarray:
    """Distance of every sub-pixel centre to a segment, in pixels."""
    y, x = ((np.mgrid[: H * fine, : W * fine] + 0.5) / fine) - 0.5
    edge = np.subtract(b, a)
    t = np.clip(((x - a[0]) * edge[0] + (y - a[1]) * edge[1]) / (edge @ edge), 0, 1)
    return np.hypot(x - a[0] - t * edge[0], y - a[1] - t * edge[1])


# --- normals --------------------------------------------------------------------------------------
def test_normals_of_a_ball_are_those_of_its_equation() -> None:
    center, radius = np.array([0.1, -0.05, 2.0]), 0.4
    drawn = draw_normals(*ball(tuple(center), radius), K, (H, W), supersample=1)
    depth_inside, normals = ball_normals(center, radius)
    expected = 127.5 * (1 + normals * [1, -1, -1])  # right, up, towards the camera
    inside = depth_inside < 0.97
    assert inside.sum() > 1000
    assert np.abs(drawn[inside] - expected[inside]).max() < 6
    assert np.abs(drawn[inside] - expected[inside]).mean() < 1
    assert not drawn[depth_inside > 1.02].any()
    assert drawn.shape == (H, W, 3) and drawn.dtype == np.uint8


def test_a_wall_that_faces_the_camera_is_light_blue() -> None:
    wall = at_pixels([(10, 10), (10, 50), (70, 50), (70, 10)])
    for faces in (torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([[2, 1, 0], [3, 2, 0]])):
        drawn = draw_normals(wall, faces, K, (H, W))
        assert (drawn[12:49, 12:69] == (128, 128, 255)).all(), "also where its inside is seen"


def test_the_nearer_person_hides_the_other_s_normals() -> None:
    near, faces = ball((0.0, 0.0, 2.0), 0.2)
    far, _ = ball((0.15, 0.0, 3.0), 0.5)
    alone = draw_normals(near, faces, K, (H, W))
    hidden, _ = ball_normals(np.array([0, 0, 2.0]), 0.2)
    for people in ([near, far], [far, near]):
        drawn = draw_normals(people, faces, K, (H, W))
        np.testing.assert_array_equal(drawn[hidden < 0.85], alone[hidden < 0.85])
        assert drawn.any(axis=2).sum() > 1.5 * alone.any(axis=2).sum()
    assert not draw_normals([], faces, K, (H, W)).any()


# --- wire nets ------------------------------------------------------------------------------------
TRIANGLE = [(12.3, 8.6), (25.1, 52.4), (66.7, 30.2)]
ONE_FACE = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize("width", [1.0, 3.0])
def test_lines_lie_along_the_edges(width: float) -> None:
    """Painted within the face only: half of each line, compared with exact distances."""
    drawn = draw_wireframe(
        BLACK, at_pixels(TRIANGLE), ONE_FACE, K, color=WHITE, width=width, supersample=4
    )
    full = draw_wireframe(BLACK, at_pixels(TRIANGLE), ONE_FACE, K, color=WHITE, width=500.0)
    sides = [(TRIANGLE[i], TRIANGLE[(i + 1) % 3]) for i in range(3)]
    distance = np.min([segment_distance(a, b, 8) for a, b in sides], axis=0)
    line = (distance <= width / 2).reshape(H, 8, W, 8).mean(axis=(1, 3))
    inside = full[..., 0] == 255
    assert inside.sum() > 800
    assert np.abs(drawn[inside, 0] / 255 - line[inside]).max() < 0.2
    perimeter = sum(np.hypot(*np.subtract(a, b)) for a, b in sides)
    assert drawn[..., 0].sum() / 255 == pytest.approx(perimeter * width / 2, rel=0.06)


def test_lines_are_as_wide_far_away_as_near() -> None:
    flat = draw_wireframe(BLACK, at_pixels(TRIANGLE), ONE_FACE, K, color=WHITE, width=2.0)
    tilted = at_pixels(TRIANGLE, [1.0, 2.5, 9.0])
    drawn = draw_wireframe(BLACK, tilted, ONE_FACE, K, color=WHITE, width=2.0)
    assert np.abs(drawn.astype(int) - flat).max() <= 2


def test_the_two_halves_of_an_inner_edge_make_one_line() -> None:
    corners = at_pixels([(20, 10.3), (20, 50), (60, 50), (60, 10.3)])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    drawn = draw_wireframe(BLACK, corners, faces, K, color=WHITE, width=1.0, supersample=4)
    for row in range(20, 41):  # far from the outline
        assert drawn[row, 23:57, 0].sum() / 255 == pytest.approx(np.sqrt(2), rel=0.12)


def test_a_face_cut_by_the_near_plane_keeps_its_lines() -> None:
    left, right, tip = np.array([-0.3, 0.2, -1]), np.array([0.3, 0.2, -1]), np.array([0, 0.2, 9])
    near = [end + (tip - end) * 1.35 / 10 for end in (left, right)]  # in front, below the picture
    pictures = [
        draw_wireframe(BLACK, torch.tensor(np.array(v)).float(), ONE_FACE, K, color=WHITE)
        for v in ([left, right, tip], [*near, tip])
    ]
    assert pictures[0].any(axis=2).sum() > 40
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 3


def test_lines_behind_a_surface_are_hidden() -> None:
    wall = at_pixels([(5, 5), (5, 55), (75, 55), (75, 5)], 4.0)
    near, ball_faces = ball((0.0, 0.0, 2.0), 0.3)  # radius 15 px around (39.5, 29.5)
    wall_faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    faces = torch.cat((ball_faces, wall_faces + len(near)))
    both = draw_wireframe(BLACK, torch.cat((near, wall)), faces, K, color=WHITE)
    ball_only = draw_wireframe(BLACK, near, ball_faces, K, color=WHITE)
    distance = np.hypot(COLUMNS - 39.5, ROWS - 29.5)
    np.testing.assert_array_equal(both[distance < 14], ball_only[distance < 14])
    assert both[distance > 17].any()


def test_each_person_has_a_color_and_the_nearer_one_hides_the_other() -> None:
    corners = [(20.0, 20.0), (20.0, 40.0), (60.0, 40.0)]
    near, far = at_pixels(corners, 2.0), at_pixels(corners, 3.0)
    for people, colors in (([near, far], [RED, BLUE]), ([far, near], [BLUE, RED])):
        drawn = draw_wireframe(BLACK, people, ONE_FACE, K, color=colors, width=2.0)
        assert drawn[..., 0].any() and not drawn[..., 2].any()
    apart = draw_wireframe(
        BLACK, [near, far - torch.tensor([0.5, 0, 0])], ONE_FACE, K, color=[RED, BLUE]
    )
    assert apart[..., 0].any() and apart[..., 2].any()


def test_the_photo_stays_between_the_lines() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    before = photo.copy()
    drawn = draw_wireframe(photo, at_pixels(TRIANGLE), ONE_FACE, K, width=1.0)
    np.testing.assert_array_equal(photo, before)
    assert (drawn[28:33, 30:40] == photo[28:33, 30:40]).all(), "deep inside the face"
    assert (drawn[:8] == photo[:8]).all() and (drawn != photo).any()
    with pytest.raises(InputError, match="uint8"):
        draw_wireframe(photo[..., 0], at_pixels(TRIANGLE), ONE_FACE, K)
    with pytest.raises(InputError, match="width"):
        draw_wireframe(photo, at_pixels(TRIANGLE), ONE_FACE, K, width=0.0)
