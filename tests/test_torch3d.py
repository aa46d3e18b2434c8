"""PyTorch3D as a rasteriser: where it agrees with the others, and where theirs is the right answer.

Most tests need PyTorch3D, which must be built from source; without it they are skipped.
"""

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render import torch3d
from meshreg.render.rasterizer import Fragments, Rasterizer, rasterizer
from meshreg.render.torch_backend.backend import TorchRasterizer
from meshreg.render.torch_backend.triangles import signed_area
from tests import test_rasterizer as hard
from tests import test_rasterizer_edge as edge
from tests.reference.awkward import SCENES, Scene


@pytest.fixture(scope="module")
def live() -> Rasterizer:
    pytest.importorskip("pytorch3d")
    return rasterizer("pytorch3d")


@pytest.fixture(scope="module")
def plain() -> TorchRasterizer:
    return TorchRasterizer()


def test_without_pytorch3d_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch3d._pytorch3d.cache_clear()
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(InputError, match='from source.*rasterizer."warp"'):
        rasterizer("pytorch3d")


def test_another_version_is_pointed_out_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    torch3d._pytorch3d.cache_clear()
    other = ModuleType("pytorch3d")
    monkeypatch.setattr(other, "__version__", "0.1.2", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch3d", other)
    monkeypatch.setitem(sys.modules, "pytorch3d._C", ModuleType("pytorch3d._C"))
    try:
        with caplog.at_level(logging.WARNING):
            rasterizer("pytorch3d")
            rasterizer("pytorch3d")
    finally:
        torch3d._pytorch3d.cache_clear()
    assert [record.args[0] for record in caplog.records if record.args] == ["0.1.2"]


def test_the_version_is_the_tested_one(live: Rasterizer) -> None:
    import pytorch3d

    assert pytorch3d.__version__ == torch3d.TESTED_VERSION


def test_its_own_cameras_see_the_same(live: Rasterizer) -> None:
    from pytorch3d.renderer import MeshRasterizer, RasterizationSettings
    from pytorch3d.structures import Meshes

    verts, faces = hard.body(2)
    K = torch.tensor([[80.0, 0, 17.3], [0, 95.0, 30.8], [0, 0, 1]]).expand(2, 3, 3).clone()
    K[1, 0, 2] += 4.2
    size = (61, 44)
    ours = live.fragments(verts, faces, K, size, faces_per_pixel=3)
    draw = MeshRasterizer(
        cameras=torch3d.perspective_cameras(K, size),
        raster_settings=RasterizationSettings(image_size=size, faces_per_pixel=3),
    )
    theirs = draw(Meshes(verts * verts.new_tensor([-1, -1, 1]), faces.expand(2, -1, -1)))
    assert (ours.pix_to_face >= 0).sum() > 1_500
    # The two projections round differently; a few samples lie that near to an edge.
    same = ours.pix_to_face == theirs.pix_to_face
    assert same.float().mean() > 0.999
    assert (ours.zbuf - theirs.zbuf)[same].abs().max() < 1e-5
    assert (ours.bary_coords - theirs.bary_coords)[same].abs().max() < 0.02


def test_its_conversion_from_opencv_is_half_a_pixel_off(live: Rasterizer) -> None:
    from pytorch3d.utils import cameras_from_opencv_projection

    K, size = torch.tensor([[[50.0, 0, 13.0], [0, 60.0, 22.0], [0, 0, 1]]]), (40, 30)
    point = torch.tensor([[[0.2, -0.1, 2.0]]])  # in OpenCV's axes: column 18, row 19
    theirs = cameras_from_opencv_projection(
        torch.eye(3)[None], torch.zeros(1, 3), K, torch.tensor([size])
    ).transform_points(point)
    cameras = torch3d.perspective_cameras(K, size)
    ours = cameras.transform_points_ndc(point * torch.tensor([-1, -1, 1]))
    exact = torch.tensor([30 - 1 - 2 * 18.0, 40 - 1 - 2 * 19.0]) / 30
    torch.testing.assert_close(ours[0, 0, :2], exact)
    torch.testing.assert_close(theirs[0, 0, :2], exact + 1 / 30)


@pytest.mark.parametrize("name", ["soup", "zclip"])
def test_stored_numbers_are_its_own(live: Rasterizer, reference_fixtures: Path, name: str) -> None:
    for case in hard.load_reference(reference_fixtures, name):
        verts = [v.clone().requires_grad_(True) for v in case["verts"]]
        index, *found = hard.rasterize_reference(live, case, verts)
        assert torch.equal(index, case["pix_to_face"])
        for key, ours in zip(("zbuf", "bary", "dists"), found, strict=True):
            torch.testing.assert_close(ours, case[key], rtol=1e-5, atol=1e-6)
            given = torch.autograd.grad(ours, verts, case[f"g_{key}"], retain_graph=True)
            wanted = case[f"grad_{key}_only"]
            assert (torch.cat(given) - wanted).norm() <= 1e-3 * wanted.norm() + 1e-6


def compare(live: Rasterizer, plain: TorchRasterizer, scene: Scene, options: dict) -> list[int]:
    """Hits, and pixels with another list of faces, against float64."""
    ours = plain.fragments(scene.verts, scene.faces, scene.K, scene.size, **options)
    theirs = live.fragments(scene.verts, scene.faces, scene.K, scene.size, **options)
    differ = (ours.pix_to_face != theirs.pix_to_face).any(-1)
    same = ~differ[..., None] & (ours.pix_to_face >= 0)
    ndc = torch3d._project(scene.verts, scene.K, scene.size)
    corners = ndc[:, scene.faces].flatten(0, 1).permute(2, 1, 0)
    # PyTorch3D adds 1e-8 to the area, so that its values for slivers are not the exact ones.
    same &= (signed_area(corners).abs() > 1e-3)[ours.pix_to_face]
    tame = same & (ours.bary_coords.abs().amax(-1) < 10)
    assert (ours.zbuf - theirs.zbuf)[tame].abs().le(2e-4).all()
    assert (ours.bary_coords - theirs.bary_coords)[tame].abs().le(2e-4).all()
    assert (ours.dists - theirs.dists)[same].abs().le(1e-5).all()
    return [int((ours.pix_to_face >= 0).sum()), int(differ.sum())]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_fragments_agree_with_float64(
    live: Rasterizer, plain: TorchRasterizer, scene: Scene
) -> None:
    hits = differ = 0
    for options in (
        {"faces_per_pixel": 4},
        {"faces_per_pixel": 3, "cull_backfaces": True, "perspective_correct": False},
        {"faces_per_pixel": 5, "blur_radius": 0.02},
        {"faces_per_pixel": 4, "z_clip": 0.5},
    ):
        counts = compare(live, plain, scene, options)
        hits, differ = hits + counts[0], differ + counts[1]
    assert hits >= scene.least_hits / 3
    if scene.smooth:
        assert differ <= 2 + 0.02 * hits, (differ, hits)


@pytest.mark.parametrize("kind", ["edge", "soft"])
@pytest.mark.parametrize("options", [{}, {"z_clip": 0.5}, {"per_face": True}], ids=str)
def test_class_images_agree_with_float64(
    live: Rasterizer, plain: TorchRasterizer, kind: str, options: dict[str, Any]
) -> None:
    for scene in SCENES:
        if scene.name not in ("random", "tall image", "behind the camera", "off screen"):
            continue
        rows = len(scene.faces) if "per_face" in options else scene.verts.shape[1]
        values = torch.rand(1, rows, 3, dtype=torch.float64)
        results = []
        for backend in (live, plain):
            verts = scene.verts.clone().requires_grad_(True)
            draw = backend.edge_semantic if kind == "edge" else backend.soft_semantic
            image = draw(verts, scene.faces, scene.K, scene.size, values, background=0.3, **options)
            total = image.classes.square().sum() + image.alpha.sum()
            results.append((image.classes, image.alpha, *torch.autograd.grad(total, verts)))
        for one, other in zip(*results, strict=True):
            assert (one - other).norm() <= 1e-6 * (1 + other.norm())


def test_soft_layers_limit_the_soft_image(live: Rasterizer, plain: TorchRasterizer) -> None:
    verts, faces = hard.body()
    K = hard.intrinsics((64, 48), 88.0, torch.float32)
    values = verts.sin()
    options = {"sigma": 1e-5, "gamma": 1e-2, "z_near": 2.0, "z_far": 4.0}
    wanted = plain.soft_semantic(verts, faces, K, (64, 48), values, **options)
    full = live.soft_semantic(verts, faces, K, (64, 48), values, **options)
    few = torch3d.PyTorch3DRasterizer(soft_layers=2).soft_semantic(
        verts, faces, K, (64, 48), values, **options
    )
    assert (full.alpha - wanted.alpha).abs().max() < 1e-4
    assert (full.classes - wanted.classes).abs().max() < 1e-3
    assert few.alpha.sum() < full.alpha.sum() - 1


def test_no_pinholes_in_the_front_surface(live: Rasterizer, plain: TorchRasterizer) -> None:
    edge.test_no_pinholes_on_shared_edges(live)
    scene = next(scene for scene in SCENES if scene.name == "shared edges")
    args = (scene.verts, scene.faces, scene.K, scene.size)
    # The function itself leaves the samples on the grid's lines empty, as ours does by contract.
    assert (live.fragments(*args).pix_to_face < 0).sum() > 30
    assert torch.equal(
        live.edge_semantic(*args, scene.verts).alpha.isfinite().all(), torch.tensor(True)
    )
    assert torch.equal(
        live.edge_semantic(*args, scene.verts).alpha, plain.edge_semantic(*args, scene.verts).alpha
    )


def near_body() -> tuple[Tensor, Tensor, Tensor]:
    """The built-in body 2.4 m away, where many of its faces are seen edge-on."""
    verts, faces = hard.body()
    return (
        verts - verts.new_tensor([0, 0, 0.6]),
        faces,
        hard.intrinsics((64, 64), 85.0, torch.float32),
    )


def test_its_slopes_explode_where_ours_follow_differences(
    live: Rasterizer, plain: TorchRasterizer
) -> None:
    verts, faces, K = near_body()
    upstream = torch.randn(1, 64, 64, 30, 3)
    inputs = [verts.clone(), verts.clone(), verts.double()]  # PyTorch3D, ours, ours in float64

    def draw(raster: Rasterizer, points: Tensor) -> Fragments:
        size = (64, 64)
        return raster.fragments(points, faces, K, size, faces_per_pixel=30, blur_radius=1e-4)

    drawn = [
        draw(raster, points.requires_grad_(True))
        for raster, points in zip((live, plain, plain), inputs, strict=True)
    ]
    index = drawn[0].pix_to_face
    same = (index >= 0) & (index == drawn[1].pix_to_face) & (index == drawn[2].pix_to_face)
    assert same.sum() > 10_000
    theirs, single, exact = (
        torch.autograd.grad(
            out.bary_coords, points, upstream.to(points) * same[..., None], retain_graph=True
        )[0].double()
        for out, points in zip(drawn, inputs, strict=True)
    )
    assert (single - exact).norm() < 1e-3 * exact.norm()
    assert theirs.norm() > 100 * exact.norm(), "has PyTorch3D repaired this?"

    # The worst vertex, by differences in float64 of the barycentrics of the same hits.
    worst = int((theirs - exact).abs().argmax())
    ends = []
    for nudge in (1e-7, -1e-7):
        moved = verts.detach().double()
        moved.view(-1)[worst] += nudge
        ends.append((draw(plain, moved).bary_coords * upstream * same[..., None]).sum())
    difference = (ends[0] - ends[1]) / 2e-7
    assert (exact.view(-1)[worst] - difference).abs() < 1e-3 * (1 + difference.abs())
    assert (theirs.view(-1)[worst] - difference).abs() > 100 * (1 + difference.abs())

    # The distances, and so silhouettes, have no such trouble.
    distances = [
        torch.autograd.grad(out.dists, points, upstream[..., 0].to(points) * same)[0].double()
        for out, points in zip(drawn, inputs, strict=True)
    ]
    for slope in distances[:2]:
        assert (slope - distances[2]).norm() < 1e-3 * distances[2].norm()


def test_its_culling_to_the_frustum_loses_what_ours_draws(
    live: Rasterizer, plain: TorchRasterizer
) -> None:
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    verts = torch.tensor([[[1.5, 1.5, 2.0], [-0.8, 0.2, 2.0], [0.1, -0.9, 2.0]]])
    faces = torch.tensor([[0, 1, 2]])
    lost = rasterize_meshes(Meshes(verts, faces[None]), (16, 16), cull_to_frustum=True)[0]
    ours = plain.fragments_ndc(verts, faces, (16, 16)).pix_to_face
    assert (lost >= 0).sum() == 0, "has PyTorch3D repaired this?"
    assert (ours >= 0).sum() > 30
    assert torch.equal(live.fragments_ndc(verts, faces, (16, 16)).pix_to_face, ours)


def test_empty_meshes(live: Rasterizer) -> None:
    verts, faces, K = hard.soup()
    assert (live.fragments(verts, faces[:0], K, hard.SIZE).pix_to_face == -1).all()
    hard.test_nothing_in_view_is_empty_and_has_no_gradient(live, 0.0)
    hard.test_nothing_in_view_is_empty_and_has_no_gradient(live, -2.0)
    hard.test_wrong_input_is_refused(live)
