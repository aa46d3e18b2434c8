"""The soft class image against loops, differences, SoftRas' equations and its own variants."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.warp.backend import WarpRasterizer
from tests.reference import rasterize as loops

SIZE = (7, 10)
K = torch.tensor([[[14.0, 0.0, 4.3], [0.0, 11.0, 3.1], [0, 0, 1]]], dtype=torch.float64)
# Blurred over pixels and mixed in depth, unlike the defaults, so that every term counts.
SOFT = {"sigma": 4e-3, "gamma": 0.05, "z_near": 0.5, "z_far": 6.0, "eps": 0.02, "dist_eps": 1e-3}
CASES: list[dict[str, Any]] = [
    {},
    {"background": 0.7, "gamma": 0.5},
    {"per_face": True, "background": -0.3},
    {"perspective_correct": False},
    {"z_near": 2.0, "z_far": 3.5},
    {"sigma": 1e-5, "gamma": 1e-3},
]


@pytest.fixture(scope="module")
def raster() -> WarpRasterizer:
    return WarpRasterizer()


def soup(num_images: int = 2, num_faces: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Random triangles around the image, 1 to 4 m away."""
    span = torch.tensor([SIZE[1] + 4.0, SIZE[0] + 4.0, 3.0], dtype=torch.float64)
    points = torch.rand(num_images, 3 * num_faces, 3, dtype=torch.float64) * span
    points = points - torch.tensor([2.0, 2.0, -1.0], dtype=torch.float64)
    rays = torch.cat([points[..., :2], torch.ones_like(points[..., :1])], -1)
    verts = rays @ torch.linalg.inv(K[0]).T * points[..., 2:]
    return verts, torch.arange(3 * num_faces).view(-1, 3), K.expand(num_images, 3, 3).clone()


def attributes_for(case: dict, faces: Tensor, sets: int, channels: int) -> Tensor:
    rows = len(faces) if case.get("per_face") else 3 * len(faces)
    return torch.rand(sets, rows, channels, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_the_loops(raster: WarpRasterizer, case: dict) -> None:
    verts, faces, cameras = soup()
    verts.requires_grad_(True)
    cameras.requires_grad_(True)
    attributes = attributes_for(case, faces, 2, 5)
    settings = SOFT | case
    ours = raster.soft_semantic(verts, faces, cameras, SIZE, attributes, **settings)
    settings["perspective"] = settings.pop("perspective_correct", True)
    ndc = loops.project_to_ndc(verts, cameras, SIZE)
    classes, alpha = loops.soft_semantic(ndc, faces, SIZE, attributes, **settings)
    assert 0.2 < alpha.mean() < 0.95
    for found, wanted in ((ours.classes, classes), (ours.alpha, alpha)):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
        upstream = torch.randn_like(wanted)
        inputs = (verts, cameras, attributes)[: 2 if wanted is alpha else 3]
        slopes = torch.autograd.grad(found, inputs, upstream, retain_graph=True)
        expected = torch.autograd.grad(wanted, inputs, upstream, retain_graph=True)
        for slope, want in zip(slopes, expected, strict=True):
            assert want.norm() > 0
            assert (slope - want).norm() < 1e-9 * want.norm()


def test_gradients_follow_central_differences(raster: WarpRasterizer) -> None:
    verts, faces, cameras = soup(num_images=1)
    attributes = attributes_for({}, faces, 1, 3)
    # A far cut, beyond which faces hardly count: values then have no jumps.
    settings = SOFT | {"dist_eps": 1e-9}
    weights = torch.randn(1, *SIZE, 4, dtype=torch.float64)

    def value(points: Tensor, values: Tensor) -> Tensor:
        image = raster.soft_semantic(points, faces, cameras, SIZE, values, **settings)
        return (torch.cat([image.classes, image.alpha[..., None]], -1) * weights).sum()

    verts.requires_grad_(True)
    slopes = torch.autograd.grad(value(verts, attributes), (verts, attributes))
    step = 1e-6
    for k, (slope, given) in enumerate(zip(slopes, (verts, attributes), strict=True)):
        for i in range(0, given.numel(), 2):
            nudge = torch.zeros(given.numel(), dtype=torch.float64)
            nudge[i] = step
            inputs = [verts.detach(), attributes.detach()]
            ends = []
            for sign in (1, -1):
                moved = list(inputs)
                moved[k] = inputs[k] + sign * nudge.view(given.shape)
                ends.append(float(value(*moved)))
            difference = (ends[0] - ends[1]) / (2 * step)
            assert abs(difference - slope.reshape(-1)[i]) < 1e-5 * (1 + abs(difference))


def test_softras_scenes(raster: WarpRasterizer, reference_fixtures: Path) -> None:
    path = reference_fixtures / "dsr" / "softras.pt"
    scenes = torch.load(path, weights_only=True)["scenes"]
    assert len(scenes) >= 10
    to_left = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    for scene in scenes:
        for dtype, value_limit, slope_limit in (
            (torch.float64, 1e-12, 1e-11),
            (torch.float32, 2e-5, 2e-4),
        ):
            corners = scene["face_vertices"].clone().requires_grad_(True)
            textures = scene["textures"].clone().requires_grad_(True)
            image = raster.soft_semantic_ndc(
                (corners * to_left).view(1, -1, 3).to(dtype),
                torch.arange(3 * len(corners)).view(-1, 3),
                (32, 32),
                textures[None].to(dtype),
                per_face=True,
                sigma=scene["sigma"],
                gamma=scene["gamma"],
                dist_eps=scene["dist_eps"],
                z_near=scene["near"],
                z_far=scene["far"],
                eps=scene["eps"],
            )
            rgba = torch.cat([image.classes[0].permute(2, 0, 1), image.alpha])
            assert (rgba - scene["rederived_rgba"]).abs().max() < value_limit, scene["name"]
            total = (rgba * scene["cotangent"]).sum()
            slopes = torch.autograd.grad(total, (corners, textures))
            names = ("rederived_grad_face_vertices", "rederived_grad_textures")
            for slope, name in zip(slopes, names, strict=True):
                error = (slope - scene[name]).norm() / scene[name].norm()
                assert error < slope_limit, (scene["name"], name)


def test_any_number_of_channels_is_one_channel_at_a_time(raster: WarpRasterizer) -> None:
    verts, faces, cameras = soup()
    verts.requires_grad_(True)
    for channels in (1, 4, 6, 23):
        attributes = attributes_for({}, faces, 1, channels)
        upstream = torch.randn(2, *SIZE, channels, dtype=torch.float64)
        image = raster.soft_semantic(verts, faces, cameras, SIZE, attributes, **SOFT)
        slopes = torch.autograd.grad(image.classes, (verts, attributes), upstream)
        wanted = torch.zeros_like(verts)
        for c in range(channels):
            one = raster.soft_semantic(
                verts, faces, cameras, SIZE, attributes[..., c : c + 1], **SOFT
            )
            torch.testing.assert_close(image.classes[..., c], one.classes[..., 0])
            pair = torch.autograd.grad(
                one.classes, (verts, attributes), upstream[..., c : c + 1].contiguous()
            )
            wanted += pair[0]
            torch.testing.assert_close(slopes[1][..., c], pair[1][..., c])
        torch.testing.assert_close(slopes[0], wanted)


def test_the_kernels_for_cuda_blend_the_same(
    raster: WarpRasterizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshreg.render.warp import soft_operator

    size, (verts, faces, cameras) = (37, 21), soup(num_faces=40)
    verts.requires_grad_(True)
    attributes = attributes_for({}, faces, 2, 6)
    upstream = torch.randn(2, *size, 6, dtype=torch.float64)
    results = []
    for by_pixel in (False, True):
        monkeypatch.setattr(soft_operator, "searches_by_pixel", lambda run, yes=by_pixel: yes)
        image = raster.soft_semantic(verts, faces, cameras * 2, size, attributes, **SOFT)
        total = (image.classes * upstream).sum() + image.alpha.square().sum()
        slopes = torch.autograd.grad(total, (verts, attributes))
        results.append([image.classes, image.alpha, image.depth, *slopes])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_the_limit_of_no_softness_is_the_front_surface(raster: WarpRasterizer) -> None:
    verts, faces, cameras = soup()
    attributes = attributes_for({}, faces, 1, 2)
    hard = raster.edge_semantic(verts, faces, cameras, SIZE, attributes, background=0.5)
    soft = raster.soft_semantic(
        verts, faces, cameras, SIZE, attributes,
        background=0.5, sigma=1e-12, gamma=1e-5, z_near=0.1, z_far=9.0,
    )  # fmt: skip
    torch.testing.assert_close(soft.alpha, hard.alpha)
    torch.testing.assert_close(soft.classes, hard.classes)
    torch.testing.assert_close(soft.depth, hard.depth)


def test_depth_cut_and_near_plane(raster: WarpRasterizer) -> None:
    verts, faces, cameras = soup()
    behind = verts - torch.tensor([0.0, 0.0, 2.5])
    attributes = attributes_for({}, faces, 1, 2)
    whole = raster.soft_semantic(behind, faces, cameras, SIZE, attributes, **SOFT)
    cut = raster.soft_semantic(behind, faces, cameras, SIZE, attributes, z_clip=0.2, **SOFT)
    assert cut.alpha.sum() > whole.alpha.sum() + 1
    away = raster.soft_semantic(verts, faces, cameras, SIZE, attributes, z_near=50.0, z_far=60.0)
    assert (away.classes == 0).all() and away.alpha.max() > 0.9


@pytest.mark.parametrize("wrong", ["sigma", "gamma", "dist_eps", "z_far"])
def test_wrong_softness_is_refused(raster: WarpRasterizer, wrong: str) -> None:
    verts, faces, cameras = soup()
    with pytest.raises(InputError, match=wrong):
        raster.soft_semantic(verts, faces, cameras, SIZE, verts, **{wrong: 0.0})


def test_nothing_to_see_is_background(raster: WarpRasterizer) -> None:
    verts, faces, cameras = soup()
    verts.requires_grad_(True)
    for points, triangles in ((verts - 50, faces), (verts, faces[:0])):
        image = raster.soft_semantic(
            points, triangles, cameras, SIZE, verts.detach(), background=0.25
        )
        assert (image.classes == 0.25).all() and (image.alpha == 0).all()
        assert (image.depth == 0).all()
        (slope,) = torch.autograd.grad(image.classes.sum() + image.alpha.sum(), verts)
        assert (slope == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_faces_with_two_equal_corners_are_not_drawn(
    raster: WarpRasterizer, dtype: torch.dtype
) -> None:
    """Rounding must not give them dust of an area; the neighbours' pixels would show it."""
    verts, faces, cameras = soup(8, 12)
    twins = verts.unflatten(1, (-1, 3)).clone()
    for corner in range(3):
        twins[:, corner::3, corner] = twins[:, corner::3, corner - 1]
    verts = twins.flatten(1, 2).to(dtype)
    ones = torch.ones(1, verts.shape[1], 1, dtype=dtype)
    image = raster.soft_semantic(verts, faces, cameras.to(dtype), SIZE, ones, **SOFT)
    assert float(image.alpha.abs().max()) == 0.0
