"""The class image: its values, and its gradients across surfaces and outlines."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.body.assets import BUILTIN_PATH, read_body_data
from meshreg.errors import InputError
from meshreg.render.rasterizer import Rasterizer, SemanticImage, rasterizer
from tests.reference import rasterize as loops


@pytest.fixture(scope="module")
def raster() -> Rasterizer:
    return rasterizer("warp")


def camera(size: tuple[int, int], focal: float, dtype: torch.dtype = torch.float64) -> Tensor:
    height, width = size
    K = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor([K], dtype=dtype)


def lift(points_px: Tensor, K: Tensor) -> Tensor:
    """Camera-space points from columns, rows and depth."""
    rays = torch.cat([points_px[..., :2], torch.ones_like(points_px[..., :1])], -1)
    return rays @ torch.linalg.inv(K).mT * points_px[..., 2:]


def sheet(x0: float, x1: float, y0: float, y1: float, cells: int = 1) -> tuple[Tensor, Tensor]:
    """A grid of (column, row) points over a rectangle, and its triangles."""
    x = torch.linspace(x0, x1, cells + 1, dtype=torch.float64)
    y = torch.linspace(y0, y1, cells + 1, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(-1, 2)
    corner = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).flatten()
    a, b, c, d = corner, corner + 1, corner + cells + 1, corner + cells + 2
    return points, torch.cat([torch.stack([a, b, c], -1), torch.stack([b, d, c], -1)])


@pytest.mark.parametrize("shared", [True, False])
def test_values_and_attribute_gradients_equal_the_loops(raster: Rasterizer, shared: bool) -> None:
    size, K = (9, 13), camera((9, 13), 12.0).expand(2, 3, 3)
    points = torch.rand(2, 18, 3, dtype=torch.float64) * torch.tensor([16.0, 12.0, 3.0])
    verts = lift(points - torch.tensor([2.0, 2.0, -1.0]), K)
    faces = torch.arange(18).view(-1, 3)
    attributes = torch.rand(1 if shared else 2, 18, 5, dtype=torch.float64, requires_grad=True)
    ours = raster.edge_semantic(verts, faces, K, size, attributes, background=0.25)
    ndc = loops.project_to_ndc(verts, K, size)
    classes, alpha = loops.semantic(ndc, faces, size, attributes, background=0.25)
    assert 20 < alpha.sum() < alpha.numel() - 20
    assert torch.equal(ours.alpha, alpha)
    torch.testing.assert_close(ours.classes, classes)
    depth = loops.fragments(ndc, faces, size)[1][..., 0]
    torch.testing.assert_close(ours.depth, depth.clamp(min=0))
    upstream = torch.rand_like(classes)
    (slope,) = torch.autograd.grad(ours.classes, attributes, upstream)
    (wanted,) = torch.autograd.grad(classes, attributes, upstream)
    torch.testing.assert_close(slope, wanted)


def test_no_pinholes_on_shared_edges(raster: Rasterizer) -> None:
    size, K = (32, 32), camera((32, 32), 16.0, torch.float32)  # exact in binary
    points, faces = sheet(4, 24, 4, 24, cells=5)  # its edges pass exactly through samples
    turn = 0.8 * torch.tensor([[0.8, 0.6], [-0.6, 0.8]]).double()
    for flat in (points, points @ turn + torch.tensor([12.0, 0.0])):
        verts = lift(torch.cat([flat, torch.full_like(flat[:, :1], 2)], -1)[None], K.double())
        image = raster.edge_semantic(verts.float(), faces, K, size, verts.float())
        assert image.alpha.sum() > 240
        for row in image.alpha[0]:
            assert (row.nonzero().flatten().diff() == 1).all()
    verts = lift(torch.cat([points, torch.full_like(points[:, :1], 2)], -1)[None], K.double())
    strict = raster.fragments(verts.float(), faces, K, size)
    assert strict.pix_to_face[0, 8, 8, 0] == -1, "PyTorch3D's rule leaves a hole here"


def shifted(
    raster: Rasterizer, points: Tensor, faces: Tensor, shift: Tensor, attributes: Tensor
) -> SemanticImage:
    """Draw (column, row, depth) points into 20 x 20 pixels after a shift of each, in pixels."""
    K = camera((20, 20), 30.0)
    moved = torch.cat([points[:, :2] + shift, points[:, 2:]], -1)
    return raster.edge_semantic(lift(moved[None], K), faces, K, (20, 20), attributes)


def test_a_moving_square_changes_a_ramp_by_its_area(raster: Rasterizer) -> None:
    flat, faces = sheet(4.5, 12.5, 3.5, 9.5)
    points = torch.cat([flat, torch.full_like(flat[:, :1], 2)], -1)
    shift = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    image = shifted(raster, points, faces, shift, torch.zeros(1, 4, 1, dtype=torch.float64))
    columns = torch.arange(20, dtype=torch.float64).expand(20, 20)
    (slope,) = torch.autograd.grad((image.alpha[0] * columns).sum(), shift)
    torch.testing.assert_close(slope.sum(0), torch.tensor([8.0 * 6.0, 0.0]).double())


def test_the_front_surface_moves_its_border_with_the_back_one(raster: Rasterizer) -> None:
    front, front_faces = sheet(6.5, 12.5, 6.5, 14.5)
    back, back_faces = sheet(-5, 25, -5, 25, cells=3)
    points = torch.cat([torch.cat([front, back]), torch.full((20, 1), 2.0).double()], -1)
    points[4:, 2] = 2.5
    faces = torch.cat([front_faces, back_faces + 4])
    classes = torch.zeros(1, 20, 2, dtype=torch.float64)
    classes[0, :4, 0] = 1
    classes[0, 4:, 1] = 1
    shift = torch.zeros(20, 2, dtype=torch.float64, requires_grad=True)
    image = shifted(raster, points, faces, shift, classes)
    columns = torch.arange(20, dtype=torch.float64).expand(20, 20)
    loss = (image.classes[0, ..., 0] * columns).sum() - (image.classes[0, ..., 1] * columns).sum()
    (slope,) = torch.autograd.grad(loss, shift)
    torch.testing.assert_close(slope[:4].sum(0), torch.tensor([2 * 6.0 * 8.0, 0.0]).double())
    assert slope[4:].abs().max() < 1e-12, "the back surface's border is not in view"


def test_inside_a_surface_only_barycentrics_carry_the_gradient(raster: Rasterizer) -> None:
    size, K = (9, 9), camera((9, 9), 20.0)
    flat, faces = sheet(0.3, 8.1, -0.3, 7.9, cells=9)
    slope_and_bumps = 2 + 0.04 * flat[:, :1] + 0.01 * torch.rand(100, 1, dtype=torch.float64)
    verts = lift(torch.cat([flat, slope_and_bumps], -1)[None], K).requires_grad_(True)
    attributes = torch.rand(1, 100, 2, dtype=torch.float64)
    ours = raster.edge_semantic(verts, faces, K, size, attributes)
    classes, _ = loops.semantic(loops.project_to_ndc(verts, K, size), faces, size, attributes)
    upstream = torch.zeros_like(classes)
    upstream[:, 2:6, 2:6] = torch.rand(4, 4, 2)
    (slope,) = torch.autograd.grad(ours.classes, verts, upstream)
    (wanted,) = torch.autograd.grad(classes, verts, upstream)
    assert wanted.norm() > 0
    assert (slope - wanted).norm() < 1e-9 * wanted.norm()


def body_in_view() -> tuple[Tensor, Tensor, Tensor]:
    """The built-in body 3 m in front of the camera, its faces, and four classes of its vertices."""
    if not Path(BUILTIN_PATH).is_file():
        pytest.skip("the built-in body has not been baked")
    data = read_body_data(BUILTIN_PATH)
    verts = torch.tensor(data.v_template)
    verts = (verts - (verts.amax(0) + verts.amin(0)) / 2) * torch.tensor([1.0, -1.0, -1.0])
    stripes = ((data.v_template[:, 1] + 2) * 5).astype("int64") % 4
    classes = torch.nn.functional.one_hot(torch.tensor(stripes), 4).float()
    return verts, torch.tensor(data.faces), classes[None]


SIDE, FINE, FOCAL = 96, 8, 130.0
# Columns, rows, scale, roll and yaw, each in a unit that moves the outline by about a pixel.
UNITS = torch.tensor([3 / FOCAL, 3 / FOCAL, 0.02, 0.02, 0.05])


def move(verts: Tensor, motion: Tensor) -> Tensor:
    right, down, grow, roll, yaw = (motion * UNITS).unbind()
    x, y, z = verts.unbind(-1)
    x, z = x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin()
    x, y = x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos()
    return torch.stack([x * (1 + grow) + right, y * (1 + grow) + down, z + 3], -1)[None]


@pytest.mark.parametrize("what", ["mask", "classes"])
def test_gradients_follow_differences_of_a_finer_picture(raster: Rasterizer, what: str) -> None:
    verts, faces, classes = body_in_view()
    K = camera((SIDE, SIDE), FOCAL, torch.float32)
    K_fine = camera((SIDE * FINE, SIDE * FINE), FOCAL * FINE, torch.float32)

    def values(image: SemanticImage) -> Tensor:
        return image.alpha[..., None] if what == "mask" else image.classes

    def fine(motion: Tensor) -> Tensor:
        size = (SIDE * FINE, SIDE * FINE)
        image = raster.edge_semantic(move(verts, motion), faces, K_fine, size, classes)
        pooled = torch.nn.functional.avg_pool2d(values(image).permute(0, 3, 1, 2), FINE)
        return pooled.permute(0, 2, 3, 1)

    for _ in range(2):
        target = fine(torch.cat([torch.rand(2) - 0.5, torch.zeros(3)]))
        offset = torch.randn(5)
        motion = (2 * offset / offset.norm()).requires_grad_(True)
        image = raster.edge_semantic(move(verts, motion), faces, K, (SIDE, SIDE), classes)
        (slope,) = torch.autograd.grad((values(image) - target).square().sum(), motion)
        differences = []
        for nudge in 0.25 * torch.eye(5):
            up = (fine(motion.detach() + nudge) - target).square().sum()
            down = (fine(motion.detach() - nudge) - target).square().sum()
            differences.append((up - down) / 0.5)
        wanted = torch.stack(differences)
        assert torch.cosine_similarity(slope, wanted, dim=0) > 0.95
        assert 0.7 < slope.norm() / wanted.norm() < 1.2


def test_face_attributes_are_vertex_attributes_of_separate_faces(raster: Rasterizer) -> None:
    size, K = (9, 13), camera((9, 13), 12.0).expand(2, 3, 3)
    flat = torch.rand(2, 18, 2, dtype=torch.float64) * torch.tensor([16.0, 12.0]) - 2
    # Too far apart in depth to be taken for one surface.
    depth = (2 * 1.6 ** torch.arange(6.0).double()).repeat_interleave(3).expand(2, 18)
    verts = lift(torch.cat([flat, depth[..., None]], -1), K).requires_grad_(True)
    faces = torch.arange(18).view(-1, 3)
    colours = torch.rand(2, 6, 3, dtype=torch.float64, requires_grad=True)
    spread = colours.repeat_interleave(3, 1)
    by_face = raster.edge_semantic(verts, faces, K, size, colours, background=0.25)
    by_vertex = raster.edge_semantic(verts, faces, K, size, spread, background=0.25)
    torch.testing.assert_close(by_face.classes, by_vertex.classes)
    upstream = torch.randn_like(by_face.classes)
    for one, other in zip(
        torch.autograd.grad(by_face.classes, (verts, colours), upstream),
        torch.autograd.grad(by_vertex.classes, (verts, colours), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_class_borders_move_with_a_surface_of_coloured_faces(raster: Rasterizer) -> None:
    flat, faces = sheet(2.5, 16.5, 3.5, 13.5, cells=2)
    points = torch.cat([flat, torch.full_like(flat[:, :1], 2)], -1)
    left = (points[faces][..., 0].mean(1) < 9.5).double()  # the border runs along column 9.5
    shift = torch.zeros(len(points), 2, dtype=torch.float64, requires_grad=True)
    image = shifted(raster, points, faces, shift, left[None, :, None])
    ramp = torch.arange(20, dtype=torch.float64).expand(20, 20)
    inside = torch.zeros(20, 20, dtype=torch.float64)
    inside[:, 7:12] = 1  # look at the border between the classes alone
    (slope,) = torch.autograd.grad((image.classes[0, ..., 0] * ramp * inside).sum(), shift)
    # Ten rows; a column of value 9.5 on average turns to one when the border moves by a pixel.
    torch.testing.assert_close(slope.sum(0)[0], torch.tensor(95.0).double())


def test_as_many_vertices_as_faces_need_the_keyword(raster: Rasterizer) -> None:
    # Two faces apart and two on top of each other, on four corners.
    K = camera((9, 9), 9.0)
    flat = torch.tensor([[0.5, 0.5, 2], [7.5, 0.5, 2], [0.5, 7.5, 2], [7.5, 7.5, 2]]).double()
    verts = lift(flat[None], K)
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [0, 1, 3], [0, 3, 2]])
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).double()[..., None]
    by_vertex = raster.edge_semantic(verts, faces, K, (9, 9), values)
    by_face = raster.edge_semantic(verts, faces, K, (9, 9), values, per_face=True)
    assert set(by_face.classes.unique().tolist()) == {0.0, 1.0, 2.0}
    assert len(by_vertex.classes.unique()) > 10
    with pytest.raises(InputError, match="attributes of shape"):
        raster.edge_semantic(verts, faces[:2], K, (9, 9), values[:, :3])


@pytest.mark.parametrize("per_face", [False, True])
def test_faces_that_cross_the_camera_plane_are_cut(raster: Rasterizer, per_face: bool) -> None:
    size, K = (11, 15), camera((11, 15), 9.0)
    verts = torch.randn(1, 21, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 0.4]).double()
    verts.requires_grad_(True)
    faces = torch.arange(21).view(-1, 3)
    rows = 7 if per_face else 21
    values = torch.rand(1, rows, 3, dtype=torch.float64, requires_grad=True)
    image = raster.edge_semantic(verts, faces, K, size, values, z_clip=0.3, per_face=per_face)
    wanted = raster.fragments(verts, faces, K, size, z_clip=0.3)
    index, bary = wanted.pix_to_face[0, ..., 0], wanted.bary_coords[0, ..., 0, :]
    hit = index >= 0
    assert torch.equal(image.alpha[0] > 0, hit) and hit.sum() > 30
    whole = raster.edge_semantic(verts, faces, K, size, values, per_face=per_face)
    assert (image.depth != whole.depth).sum() > 10
    corners = values[0][faces] if not per_face else values[0][:, None].expand(-1, 3, -1)
    mixed = (bary[..., None] * corners[index.clamp(min=0)]).sum(-2)
    torch.testing.assert_close(image.classes[0][hit], mixed[hit])
    upstream = torch.rand_like(image.classes) * hit[..., None]
    (slope,) = torch.autograd.grad(image.classes, values, upstream, retain_graph=True)
    (want,) = torch.autograd.grad(mixed * upstream[0], values, torch.ones_like(mixed))
    torch.testing.assert_close(slope, want)
    assert torch.autograd.grad(image.classes, verts, upstream)[0].isfinite().all()
