"""The rasteriser in plain torch against loops, Warp, PyTorch3D's numbers and differences."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.rasterizer import BACKENDS, Rasterizer, rasterizer
from meshreg.render.torch_backend import layers, search
from meshreg.render.torch_backend.backend import TorchRasterizer
from tests import test_rasterizer as hard
from tests import test_rasterizer_checks as checks
from tests import test_rasterizer_edge as edge
from tests import test_rasterizer_soft as soft
from tests.reference.awkward import SCENES, Scene

# Tests of the default rasteriser that the plain one has to pass as well.
SHARED: list[Callable[..., None]] = [
    hard.test_fragments_follow_central_differences,
    hard.test_one_triangle_known_by_hand,
    hard.test_a_point_lands_on_its_pixel_with_an_uneven_camera,
    hard.test_wrong_input_is_refused,
    edge.test_no_pinholes_on_shared_edges,
    edge.test_a_moving_square_changes_a_ramp_by_its_area,
    edge.test_the_front_surface_moves_its_border_with_the_back_one,
    edge.test_inside_a_surface_only_barycentrics_carry_the_gradient,
    edge.test_face_attributes_are_vertex_attributes_of_separate_faces,
    edge.test_class_borders_move_with_a_surface_of_coloured_faces,
    edge.test_as_many_vertices_as_faces_need_the_keyword,
    soft.test_gradients_follow_central_differences,
    soft.test_the_limit_of_no_softness_is_the_front_surface,
    soft.test_depth_cut_and_near_plane,
    soft.test_nothing_to_see_is_background,
]


@pytest.fixture(scope="module")
def plain() -> TorchRasterizer:
    return TorchRasterizer()


def test_it_is_a_rasterizer(plain: TorchRasterizer) -> None:
    assert isinstance(plain, Rasterizer) and isinstance(rasterizer("torch"), TorchRasterizer)


@pytest.mark.parametrize("test", SHARED, ids=lambda test: test.__name__)
def test_what_the_default_passes(plain: TorchRasterizer, test: Callable[..., None]) -> None:
    test(plain)


@pytest.mark.parametrize("case", hard.CASES, ids=str)
def test_fragments_equal_the_loops(plain: TorchRasterizer, case: dict) -> None:
    hard.test_fragments_and_gradients_equal_the_loops(plain, case)


@pytest.mark.parametrize("shared", [True, False])
def test_front_surface_equals_the_loops(plain: TorchRasterizer, shared: bool) -> None:
    edge.test_values_and_attribute_gradients_equal_the_loops(plain, shared)


@pytest.mark.parametrize("per_face", [True, False])
def test_faces_are_cut_for_class_images(plain: TorchRasterizer, per_face: bool) -> None:
    edge.test_faces_that_cross_the_camera_plane_are_cut(plain, per_face)


@pytest.mark.parametrize("case", soft.CASES, ids=str)
def test_soft_image_equals_the_loops(plain: TorchRasterizer, case: dict) -> None:
    soft.test_values_and_gradients_equal_the_loops(plain, case)


def test_random_triangles_equal_pytorch3d(plain: TorchRasterizer, reference_fixtures: Path) -> None:
    cases = hard.load_reference(reference_fixtures, "soup")
    assert sum(hard.check_reference(plain, case) for case in cases) > 15_000


def test_cut_faces_equal_pytorch3d(plain: TorchRasterizer, reference_fixtures: Path) -> None:
    # With blur PyTorch3D chooses between pieces by distances that are equal but for rounding. Its
    # gradients leave out a part of how the cut moves, so only values are compared.
    cases = hard.load_reference(reference_fixtures, "zclip")
    sharp = [case for case in cases if case["settings"]["blur_radius"] == 0]
    assert sharp
    for case in sharp:
        sound = ~case["fragile"][..., None]
        index, *found = hard.rasterize_reference(plain, case, case["verts"])
        assert torch.equal(index * sound, case["pix_to_face"] * sound)
        for name, ours in zip(("zbuf", "bary", "dists"), found, strict=True):
            mask = sound[..., None] if name == "bary" else sound
            torch.testing.assert_close(ours * mask, case[name] * mask, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["human_front_224_blur1e-5_K10", "human_posed_256x192_hard_K1"])
def test_a_human_equals_pytorch3d(
    plain: TorchRasterizer, reference_fixtures: Path, name: str
) -> None:
    hard.test_a_human_equals_pytorch3d(plain, reference_fixtures, name)


def test_softras_scenes(plain: TorchRasterizer, reference_fixtures: Path) -> None:
    soft.test_softras_scenes(plain, reference_fixtures)


def close(found: Tensor, wanted: Tensor, what: str, limit: float = 1e-9) -> None:
    error = (found - wanted).abs().max() if found.numel() else torch.zeros(())
    assert error <= limit * wanted.abs().max().clamp(min=1), (what, float(error))


def slopes(outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.rand(out.shape, generator=generator, dtype=out.dtype) for out in outputs]
    return torch.autograd.grad(outputs, inputs, upstream)


def check_fragments(plain: TorchRasterizer, scene: Scene, options: dict[str, Any]) -> int:
    """Values and gradients of both backends; returns how many hits were compared."""
    results = []
    for backend in (plain, rasterizer("warp")):
        verts = scene.verts.clone().requires_grad_(True)
        K = scene.K.clone().requires_grad_(True)
        out = backend.fragments(verts, scene.faces, K, scene.size, **options)
        # Far outside a face unclipped barycentrics grow without bound, and so do differences.
        tame = (out.bary_coords.detach().abs().amax(-1) < 1e3) & (out.zbuf.detach() < 1e3)
        values = (out.zbuf * tame, out.bary_coords * tame[..., None], out.dists)
        results.append((out.pix_to_face, values, slopes(values, (verts, K))))
    (index, values, given), (wanted_index, wanted, expected) = results
    assert torch.equal(index, wanted_index)
    for name, one, other in zip(("zbuf", "bary", "dists"), values, wanted, strict=True):
        close(one, other, name)
    for name, one, other in zip(("verts", "K"), given, expected, strict=True):
        assert one.isfinite().all()
        if scene.smooth:
            close(one, other, name)
    return int((index >= 0).sum())


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_fragments_equal_warp(plain: TorchRasterizer, scene: Scene) -> None:
    compared = 0
    for options in (
        {},
        {"faces_per_pixel": 4},
        {"faces_per_pixel": 3, "cull_backfaces": True, "perspective_correct": False},
        {"faces_per_pixel": 5, "blur_radius": 0.02},
        {"faces_per_pixel": 2, "blur_radius": 0.004, "perspective_correct": False},
        {"faces_per_pixel": 3, "blur_radius": 0.01, "clip_barycentric_coords": False},
        {"faces_per_pixel": 3, "z_clip": 0.5},
        {"faces_per_pixel": 4, "z_clip": 0.5, "blur_radius": 0.01},
    ):
        compared += check_fragments(plain, scene, options)
    assert compared >= scene.least_hits


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.parametrize("per_face", [False, True])
@pytest.mark.parametrize("kind", ["edge", "soft", "soft sharp"])
def test_class_images_equal_warp(
    plain: TorchRasterizer, scene: Scene, kind: str, per_face: bool
) -> None:
    rows = len(scene.faces) if per_face else scene.verts.shape[1]
    attributes = torch.rand(len(scene.verts), rows, 3, dtype=torch.float64)
    softness = {"sigma": 4e-3, "gamma": 0.05, "z_near": 0.3, "z_far": 6.0, "dist_eps": 1e-3}
    for sets, options in ((1, {}), (len(scene.verts), {"z_clip": 0.5, "background": 0.25})):
        results = []
        for backend in (plain, rasterizer("warp")):
            verts = scene.verts.clone().requires_grad_(True)
            values = attributes[:sets].clone().requires_grad_(True)
            draw = backend.edge_semantic if kind == "edge" else backend.soft_semantic
            extra = options | (softness if kind == "soft" else {})
            image = draw(
                verts, scene.faces, scene.K, scene.size, values, per_face=per_face, **extra
            )
            given = slopes((image.classes, image.alpha), (verts, values))
            results.append((image.classes, image.alpha, image.depth, *given))
        names = ("classes", "alpha", "depth", "verts", "attributes")
        for name, one, other in zip(names, *results, strict=True):
            assert one.isfinite().all()
            if scene.smooth or name != "verts":
                close(one, other, name)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape checks that only tests add to signatures."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("message", "change"), checks.WRONG, ids=str)
def test_wrong_input_is_named(plain: TorchRasterizer, message: str, change: dict) -> None:
    for call in checks.calls(plain):
        with pytest.raises(InputError, match=message):
            call(**(checks.GOOD | change))


@pytest.mark.usefixtures("unchecked")
def test_whole_number_types_of_faces_draw_the_same(plain: TorchRasterizer) -> None:
    for z_clip in (None, 0.1):
        found = []
        for dtype in (torch.int64, torch.int32, torch.int16, torch.uint8):
            args = (checks.VERTS, checks.FACES.to(dtype), checks.K, checks.SIZE)
            index = plain.fragments(*args, z_clip=z_clip).pix_to_face
            alpha = plain.edge_semantic(*args, checks.VERTS.sin(), z_clip=z_clip).alpha
            found.append((index, alpha))
        assert (found[0][0] >= 0).any()
        for index, alpha in found[1:]:
            assert torch.equal(index, found[0][0]) and torch.equal(alpha, found[0][1])


def test_chunks_do_not_show(plain: TorchRasterizer, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = next(scene for scene in SCENES if scene.name == "random")
    results = []
    for chunk in (10**9, 37):
        monkeypatch.setattr(search, "CHUNK", chunk)
        monkeypatch.setattr(layers, "CHUNK", chunk)
        verts = scene.verts.clone().requires_grad_(True)
        args = (verts, scene.faces, scene.K, scene.size)
        out = plain.fragments(*args, faces_per_pixel=4, blur_radius=0.02, z_clip=1.2)
        image = plain.soft_semantic(*args, scene.verts.sin(), sigma=1e-3, z_near=0.5)
        values = (out.zbuf, out.bary_coords, out.dists, image.classes, image.alpha)
        results.append((out.pix_to_face, *values, *slopes(values, (verts,))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_float32_slopes_stay_near_float64_around_faces_seen_edge_on(
    plain: TorchRasterizer,
) -> None:
    """PyTorch3D's clipping after a first division loses these slopes; see its own tests."""
    verts, faces = hard.body()
    K = hard.intrinsics((64, 64), 88.0, torch.float32)
    upstream = torch.randn(1, 64, 64, 8, 3)
    found = []
    for dtype in (torch.float32, torch.float64):
        points = verts.to(dtype).requires_grad_(True)
        out = plain.fragments(points, faces, K, (64, 64), faces_per_pixel=8, blur_radius=1e-4)
        found.append((out.pix_to_face, points, out.bary_coords))
    same = (found[0][0] == found[1][0]) & (found[0][0] >= 0)
    given, wanted = (
        torch.autograd.grad(bary, points, upstream.to(bary) * same[..., None])[0]
        for _, points, bary in found
    )
    assert same.sum() > 4_000
    assert (given - wanted).norm() < 1e-3 * wanted.norm()


@pytest.mark.gpu
def test_cuda_draws_the_same(plain: TorchRasterizer) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    for scene in SCENES:
        results = []
        for device in ("cpu", "cuda"):
            verts = scene.verts.to(device).requires_grad_(True)
            args = (verts, scene.faces.to(device), scene.K.to(device), scene.size)
            values = scene.verts.sin().to(device)
            out = plain.fragments(*args, faces_per_pixel=4, blur_radius=0.01, z_clip=0.5)
            front = plain.edge_semantic(*args, values)
            blended = plain.soft_semantic(*args, values, sigma=1e-3, z_near=0.3)
            total = out.dists.sum() + front.classes.square().sum() + blended.classes.sum()
            (slope,) = torch.autograd.grad(total, verts)
            parts = (out.pix_to_face, out.zbuf, front.classes, front.alpha, blended.alpha, slope)
            results.append([part.detach().cpu() for part in parts])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_without_warp_torch_draws(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("meshreg.render.warp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "warp", None)
    with caplog.at_level(logging.WARNING):
        assert isinstance(rasterizer(), TorchRasterizer)
    assert "Warp cannot be imported" in caplog.text


def test_other_missing_modules_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "warp", "meshreg.render.nowhere:Nothing")
    with pytest.raises(ImportError, match="nowhere"):
        rasterizer()
