"""The rasteriser against loops over pixels, reference numbers, known scenes and differences."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.rasterizer import Fragments, Rasterizer, rasterizer
from meshreg.render.warp.backend import WarpRasterizer
from tests.reference import rasterize as loops

SIZE = (9, 13)
# Every setting twice, without listing all their combinations.
CASES = [
    {"layers": 1},
    {"layers": 3},
    {"layers": 3, "perspective": False, "cull": True},
    {"layers": 3, "blur": 0.02, "clip": True},
    {"layers": 2, "blur": 0.01, "clip": True, "perspective": False},
    {"layers": 3, "blur": 0.02, "perspective": False},
    {"layers": 3, "blur": 0.005, "cull": True},
    {"layers": 1, "clip": True},
]
NAMES = {
    "layers": "faces_per_pixel",
    "blur": "blur_radius",
    "clip": "clip_barycentric_coords",
    "cull": "cull_backfaces",
    "perspective": "perspective_correct",
}


@pytest.fixture(scope="module")
def raster() -> Rasterizer:
    return rasterizer("warp")


def intrinsics(size: tuple[int, int], focal: float, dtype: torch.dtype = torch.float64) -> Tensor:
    height, width = size
    K = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor([K], dtype=dtype)


def lift(points_px: Tensor, K: Tensor) -> Tensor:
    """Camera-space points from (u, v, z): columns, rows and depth."""
    rays = torch.cat([points_px[..., :2], torch.ones_like(points_px[..., :1])], -1)
    return rays @ torch.linalg.inv(K).mT * points_px[..., 2:]


def soup(num_images: int = 2, num_faces: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Random triangles around the image, seen by a camera with fx != fy off the image's centre."""
    K = torch.tensor([[14.0, 0.0, 4.3], [0.0, 11.0, 5.1], [0, 0, 1]], dtype=torch.float64)
    K = K.expand(num_images, 3, 3).clone()
    span = torch.tensor([SIZE[1] + 6.0, SIZE[0] + 6.0, 3.0], dtype=torch.float64)
    points = torch.rand(num_images, 3 * num_faces, 3, dtype=torch.float64) * span
    points = points - torch.tensor([3.0, 3.0, -1.0], dtype=torch.float64)
    return lift(points, K), torch.arange(3 * num_faces).view(-1, 3), K


def call(raster: Rasterizer, scene: tuple[Tensor, Tensor, Tensor], case: dict) -> Fragments:
    options = {NAMES[key]: value for key, value in case.items()}
    return raster.fragments(scene[0], scene[1], scene[2], SIZE, **options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fragments_and_gradients_equal_the_loops(raster: Rasterizer, case: dict) -> None:
    verts, faces, K = soup()
    verts.requires_grad_(True)
    K.requires_grad_(True)
    ours = call(raster, (verts, faces, K), case)
    options = {"clip": case.get("blur", 0.0) > 0} | case
    index, *theirs = loops.fragments(loops.project_to_ndc(verts, K, SIZE), faces, SIZE, **options)
    assert (index >= 0).sum() > 50
    assert torch.equal(ours.pix_to_face, index)
    # Unclipped barycentrics far outside a face grow without bound, and so do their slopes.
    tame = theirs[1].detach().abs().amax(-1) < 1e3
    for name, found, expected in zip(
        ("zbuf", "bary_coords", "dists"), (ours.zbuf, ours.bary_coords, ours.dists), theirs,
        strict=True,
    ):  # fmt: skip
        mask = tame if found.ndim == 4 else tame[..., None]
        torch.testing.assert_close(found * mask, expected * mask, rtol=1e-9, atol=1e-11, msg=name)
        upstream = torch.rand_like(found) * mask
        slopes = torch.autograd.grad(found, (verts, K), upstream, retain_graph=True)
        wanted = torch.autograd.grad(expected, (verts, K), upstream, retain_graph=True)
        for slope, want in zip(slopes, wanted, strict=True):
            assert want.norm() > 0
            assert (slope - want).norm() < 1e-9 * want.norm(), name


def test_fragments_follow_central_differences(raster: Rasterizer) -> None:
    verts, faces, K = soup(num_images=1)
    case = {"layers": 2, "blur": 0.01}
    weights: list[Tensor] = []

    def value(points: Tensor) -> tuple[Tensor, Tensor]:
        out = call(raster, (points, faces, K), case)
        parts = (out.zbuf, out.bary_coords, out.dists * 50)
        if not weights:
            weights.extend(torch.rand_like(part) for part in parts)
        return sum(
            (w * part).sum() for w, part in zip(weights, parts, strict=True)
        ), out.pix_to_face

    verts.requires_grad_(True)
    total, index = value(verts)
    (slope,) = torch.autograd.grad(total, verts)
    tested, step = 0, 1e-6
    for i in range(0, verts.numel(), 3):
        nudge = torch.zeros_like(verts).view(-1)
        nudge[i] = step
        up, same_up = value(verts.detach() + nudge.view_as(verts))
        down, same_down = value(verts.detach() - nudge.view_as(verts))
        if torch.equal(same_up, index) and torch.equal(same_down, index):
            difference = float(up - down) / (2 * step)
            assert abs(difference - slope.view(-1)[i]) < 1e-5 * (1 + abs(difference))
            tested += 1
    assert tested > 8


def test_one_triangle_known_by_hand(raster: Rasterizer) -> None:
    K = intrinsics((5, 5), 4.0)
    points = torch.tensor([[[0.0, 0.0, 2.0], [4.0, 0.0, 2.0], [0.0, 4.0, 2.0]]]).double()
    out = raster.fragments(lift(points, K), torch.tensor([[0, 1, 2]]), K, (5, 5))
    # Strictly inside x > 0, y > 0, x + y < 4: the samples (1, 1), (2, 1) and (1, 2).
    assert sorted(map(tuple, (out.pix_to_face[0, :, :, 0] == 0).nonzero().tolist())) == [
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    expected = torch.tensor([0.25, 0.5, 0.25]).double()  # row 1, column 2 is halfway to corner 1
    torch.testing.assert_close(out.bary_coords[0, 1, 2, 0], expected)
    torch.testing.assert_close(out.zbuf[0, 1, 1, 0], torch.tensor(2.0).double())
    one_pixel = 2 / 5
    torch.testing.assert_close(out.dists[0, 1, 1, 0], torch.tensor(-(one_pixel**2)).double())
    for field in (out.pix_to_face, out.zbuf, out.bary_coords, out.dists):
        assert (field[0, 4, 4] == -1).all()


def test_a_point_lands_on_its_pixel_with_an_uneven_camera(raster: Rasterizer) -> None:
    K = torch.tensor([[[30.0, 0, 3.0], [0, 50.0, 40.0], [0, 0, 1]]])
    centre = torch.tensor([0.4, -0.3, 1.5])
    u, v = (K[0, :2, :2].diagonal() * centre[:2] / centre[2] + K[0, :2, 2]).tolist()
    small = 0.012 * torch.tensor([[0.0, 1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -1.0, 0.0]])
    out = raster.fragments((centre + small)[None], torch.tensor([[0, 1, 2]]), K, (44, 60))
    assert (round(u), round(v)) == (11, 30)
    assert (out.pix_to_face >= 0).nonzero().tolist() == [[0, round(v), round(u), 0]]


def body(num_images: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The built-in body, upright in front of a camera, 3 m away, and its faces."""
    from meshreg.body.assets import BUILTIN_PATH, read_body_data

    data = read_body_data(BUILTIN_PATH)
    verts = torch.tensor(data.v_template, dtype=dtype)
    verts = (verts - (verts.amax(0) + verts.amin(0)) / 2) * verts.new_tensor([1, -1, -1])
    return (verts + verts.new_tensor([0, 0, 3])).repeat(num_images, 1, 1), torch.tensor(data.faces)


def test_threads_do_not_change_the_picture() -> None:
    size = (60, 44)
    verts, faces = body(3)
    verts.requires_grad_(True)
    K = intrinsics(size, 90.0, torch.float32).expand(3, 3, 3)
    attributes = verts.detach().sin().requires_grad_(True)
    results, slopes = [], []
    for threads in (1, 2, 2):
        raster = WarpRasterizer(threads=threads)
        out = raster.fragments(verts, faces, K, size, faces_per_pixel=9, blur_radius=1e-4)
        image = raster.edge_semantic(verts, faces, K, size, attributes)
        results.append((out.pix_to_face, out.zbuf, out.bary_coords, out.dists, image.classes))
        total = out.zbuf.sum() + out.dists.sum() + image.classes.square().sum()
        slopes.append(torch.cat(torch.autograd.grad(total, (verts, attributes))))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    assert (slopes[0] - slopes[1]).norm() < 1e-5 * slopes[0].norm()
    assert torch.equal(slopes[1], slopes[2])


def test_back_faces_of_a_closed_body_can_be_spared(raster: Rasterizer) -> None:
    verts, faces = body()
    verts.requires_grad_(True)
    K = intrinsics((60, 44), 90.0, torch.float32)
    images = [
        raster.edge_semantic(verts, faces, K, (60, 44), verts.detach().sin(), cull_backfaces=cull)
        for cull in (False, True)
    ]
    assert images[0].alpha.sum() > 200
    assert torch.equal(images[0].classes, images[1].classes)
    assert torch.equal(images[0].alpha, images[1].alpha)
    inside_out = faces.flip(1)
    with torch.no_grad():
        far_side = raster.edge_semantic(
            verts, inside_out, K, (60, 44), verts.sin(), cull_backfaces=True
        )
    assert (far_side.depth - images[0].depth)[images[0].alpha > 0].mean() > 0.05


def test_the_way_back_through_the_projection_equals_torch(raster: Rasterizer) -> None:
    verts, faces, K = soup()
    with torch.no_grad():
        verts[0, :4, 2] -= 5.0  # behind the camera
    slopes = []
    for camera in (K, K.clone().requires_grad_(True)):  # the second way is torch's own
        mine = verts.clone().requires_grad_(True)
        out = raster.fragments(mine, faces, camera, (13, 17), faces_per_pixel=2, blur_radius=1e-2)
        (out.zbuf.square().sum() + out.dists.sum() + out.bary_coords.square().sum()).backward()
        slopes.append(mine.grad)
    assert slopes[0].abs().sum() > 1
    torch.testing.assert_close(*slopes)


def test_the_search_for_cuda_finds_the_same_faces(
    raster: Rasterizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshreg.render.warp import scene

    verts, faces = body(2)
    K = intrinsics((50, 37), 80.0, torch.float32).expand(2, 3, 3)
    options: dict[str, Any] = {"faces_per_pixel": 5, "blur_radius": 1e-4}
    by_tile = raster.fragments(verts, faces, K, (50, 37), **options)
    monkeypatch.setattr(scene, "searches_by_pixel", lambda run: True)
    by_pixel = raster.fragments(verts, faces, K, (50, 37), **options)
    assert torch.equal(by_tile.pix_to_face, by_pixel.pix_to_face)
    assert torch.equal(by_tile.zbuf, by_pixel.zbuf)


@pytest.mark.parametrize("depth", [-2.0, 0.0])
def test_nothing_in_view_is_empty_and_has_no_gradient(raster: Rasterizer, depth: float) -> None:
    size = (20, 30)
    verts, faces = body()
    verts = (verts - verts.new_tensor([0, 0, 3 - depth])).requires_grad_(True)
    verts_behind = torch.where(verts[..., 2:] > 0, verts * 0, verts)
    K = intrinsics(size, 25.0, torch.float32)
    out = raster.fragments(verts_behind, faces, K, size)
    image = raster.edge_semantic(verts_behind, faces, K, size, verts.detach(), background=0.5)
    assert (out.pix_to_face == -1).all() and (out.zbuf == -1).all()
    assert (image.alpha == 0).all() and (image.classes == 0.5).all() and (image.depth == 0).all()
    total = out.zbuf.sum() + out.bary_coords.sum() + image.classes.sum() + image.alpha.sum()
    assert (torch.autograd.grad(total, verts)[0] == 0).all()


def test_an_unknown_rasterizer_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'opengl'.*warp"):
        rasterizer("opengl")


def test_wrong_input_is_refused(raster: Rasterizer) -> None:
    verts, faces, K = soup(num_images=1)
    with pytest.raises(InputError, match="faces_per_pixel"):
        raster.fragments(verts, faces, K, SIZE, faces_per_pixel=0)
    with pytest.raises(InputError, match="belong to these vertices"):
        raster.fragments(verts, faces + 1, K, SIZE)
    with pytest.raises(InputError, match="z_clip > 0"):
        raster.fragments(verts, faces, K, SIZE, z_clip=-1.0)
    with pytest.raises(InputError, match="image size"):
        raster.edge_semantic(verts, faces, K, (0, 4), verts)
    with pytest.raises(InputError, match="leave out one"):
        raster.fragments(verts, faces, K, SIZE, perspective_correct=False, z_clip=0.1)


def test_warp_starts_late_and_silently() -> None:
    program = (
        "import sys, torch; from meshreg.render.rasterizer import rasterizer\n"
        "assert 'warp' not in sys.modules\n"
        "v = torch.tensor([[[0.0, 0, 1], [1, 0, 1], [0, 1, 1]]]); K = torch.eye(3)[None]\n"
        "rasterizer().fragments(v, torch.tensor([[0, 1, 2]]), K, (4, 4))\n"
        "sys.stderr.write('still there')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "still there")


def load_reference(folder: Path, name: str) -> list[dict]:
    return torch.load(folder / "pytorch3d" / f"{name}.pt", weights_only=False)["cases"]


def scatter(case: dict, name: str, tail: tuple[int, ...] = (), fill: float = -1) -> Tensor:
    """A stored output as a full image, whether it was stored densely or as a list of hits."""
    if "hit_index" not in case:
        return case[name]
    dense = torch.full((*case["shape"], *tail), fill, dtype=case[name].dtype)
    dense.view(-1, *tail)[case["hit_index"]] = case[name]
    return dense


def rasterize_reference(raster: Any, case: dict, verts: list[Tensor]) -> list[Tensor]:
    """The meshes of a stored case, one by one since their faces differ, as one packed batch."""
    settings, results, offset = case["settings"], [], 0
    for points, faces in zip(verts, case["faces"], strict=True):
        out = raster.fragments_ndc(
            points[None],
            faces,
            tuple(settings["image_size"]),
            faces_per_pixel=settings["faces_per_pixel"],
            blur_radius=settings["blur_radius"],
            perspective_correct=settings["perspective_correct"],
            clip_barycentric_coords=settings["clip_barycentric_coords"],
            cull_backfaces=settings["cull_backfaces"],
            z_clip=settings["z_clip_value"],
        )
        packed = torch.where(out.pix_to_face >= 0, out.pix_to_face + offset, -1)
        results.append((packed, out.zbuf, out.bary_coords, out.dists))
        offset += len(faces)
    return [torch.cat(parts) for parts in zip(*results, strict=True)]


def check_reference(raster: Rasterizer, case: dict) -> int:
    """Compare one stored case; returns the number of hits compared."""
    verts = [v.clone().requires_grad_(True) for v in case["verts"]]
    index, *found = rasterize_reference(raster, case, verts)
    expected = scatter(case, "pix_to_face")
    sound = ~case["fragile"][..., None]
    assert torch.equal(index * sound, expected * sound), case["name"]
    corners = torch.cat([v.detach()[f] for v, f in zip(verts, case["faces"], strict=True)])
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    # PyTorch3D adds 1e-8 to the area: its values for slivers differ from the exact ones.
    big = torch.linalg.det(edges).abs() > 1e-4
    compared = sound & (expected >= 0) & big[expected] & ~scatter(case, "flag", fill=0).bool()
    for name, ours, tail in zip(("zbuf", "bary", "dists"), found, ((), (3,), ()), strict=True):
        theirs = scatter(case, name, tail)
        error = (ours - theirs)[compared].abs() / theirs[compared].abs().clamp(min=1)
        assert error.numel() == 0 or error.max() < 5e-4, (case["name"], name)
        upstream = scatter(case, f"g_{name}", tail, fill=0)
        slopes = torch.autograd.grad(ours, verts, upstream, retain_graph=True)
        wanted = case[f"grad_{name}_only"]
        assert (torch.cat(slopes) - wanted).norm() <= 2e-3 * wanted.norm() + 1e-6, case["name"]
    return int(compared.sum())


def test_random_triangles_equal_pytorch3d(raster: Rasterizer, reference_fixtures: Path) -> None:
    cases = load_reference(reference_fixtures, "soup")
    assert sum(check_reference(raster, case) for case in cases) > 15_000


@pytest.mark.parametrize("name", ["human_front_224_blur1e-5_K10", "human_posed_256x192_hard_K1"])
def test_a_human_equals_pytorch3d(raster: Rasterizer, reference_fixtures: Path, name: str) -> None:
    # Triangles of a body are small, so only those drawn at pixel size count towards the number.
    assert check_reference(raster, load_reference(reference_fixtures, name)[0]) > 5_000
