"""What the rasteriser refuses, each in one sentence that names the argument; and determinism."""

from collections.abc import Callable, Iterator
from functools import partial

import jaxtyping
import pytest
import torch

from meshreg.errors import InputError
from meshreg.render import checks
from meshreg.render.rasterizer import Rasterizer
from meshreg.render.torch_backend.backend import TorchRasterizer
from meshreg.render.warp.backend import WarpRasterizer

SIZE = (8, 10)
VERTS = torch.tensor([[[0.0, 0, 2], [1, 0, 2], [0, 1, 2]]])
FACES = torch.tensor([[0, 1, 2]])
K = torch.tensor([[[9.0, 0, 4], [0, 9, 3], [0, 0, 1]]])
GOOD = {"verts_cam": VERTS, "faces": FACES, "K": K, "size": SIZE}
WRONG = [
    ("verts_cam.*NaN", {"verts_cam": VERTS.log()}),
    ("verts_cam.*infinite", {"verts_cam": VERTS / 0 * 1}),
    ("verts_cam in float32", {"verts_cam": VERTS.half()}),
    ("verts_cam in float32", {"verts_cam": VERTS.long()}),
    ("verts_cam of shape", {"verts_cam": VERTS[0]}),
    ("verts_cam of shape", {"verts_cam": VERTS[..., :2]}),
    ("faces of shape", {"faces": FACES[None]}),
    ("faces of whole numbers", {"faces": FACES.float()}),
    ("faces of whole numbers", {"faces": FACES.bool()}),
    ("face corners", {"faces": FACES - 1}),
    ("face corners", {"faces": FACES + 1}),
    ("faces are on meta", {"faces": FACES.to("meta")}),
    ("K of shape", {"K": K[0]}),
    ("K of shape", {"K": K.expand(2, 3, 3)}),
    ("K in float32", {"K": K.long()}),
    ("finite K", {"K": K / 0}),
    ("image size", {"size": (0, 4)}),
    ("image size", {"size": (4, -1)}),
    ("image size", {"size": (4.0, 4.0)}),
    ("image size", {"size": 4}),
    ("image size", {"size": None}),
    ("at least one image", {"verts_cam": VERTS[:0]}),
    ("verts_cam as a torch tensor, found list", {"verts_cam": VERTS.tolist()}),
    ("faces as a torch tensor, found ndarray: use torch.from_numpy", {"faces": FACES.numpy()}),
    ("K as a torch tensor, found ndarray: use torch.from_numpy", {"K": K.numpy()}),
    ("K with focal lengths", {"K": K * torch.tensor([1.0, 0, 1])}),
    ("pixels", {"size": (10**6, 10**6)}),
    ("GiB", {"size": (45_000, 47_000)}),
]


@pytest.fixture(autouse=True)
def as_a_user_calls() -> Iterator[None]:
    """Without the shape checks that only tests add to signatures."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def calls(raster: WarpRasterizer) -> list[Callable[..., object]]:
    values = torch.ones(1, 3, 2)
    return [
        raster.fragments,
        partial(raster.edge_semantic, attributes=values),
        partial(raster.soft_semantic, attributes=values),
    ]


@pytest.mark.parametrize(("message", "change"), WRONG, ids=str)
def test_wrong_input_is_named(message: str, change: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda device: 2**30)
    for call in calls(WarpRasterizer()):
        with pytest.raises(InputError, match=message) as caught:
            call(**(GOOD | change))
        assert "\n" not in str(caught.value)


def test_wrong_attributes_are_named() -> None:
    raster = WarpRasterizer()
    for values, message in (
        (torch.ones(1, 4, 2), "attributes of shape"),
        (torch.ones(2, 3, 2), "attributes of shape"),
        (torch.ones(3, 2), "attributes of shape"),
        (torch.ones(1, 3, 0), "attributes of shape"),
        (torch.ones(1, 3, 2).half(), "attributes in float32"),
    ):
        for method in (raster.edge_semantic, raster.soft_semantic):
            with pytest.raises(InputError, match=message):
                method(VERTS, FACES, K, SIZE, values)
    with pytest.raises(InputError, match="z_clip > 0"):
        raster.edge_semantic(VERTS, FACES, K, SIZE, torch.ones(1, 3, 2), z_clip=0.0)


@pytest.mark.parametrize("make", [WarpRasterizer, TorchRasterizer])
def test_attributes_of_another_kind(make: Callable[[], Rasterizer]) -> None:
    raster = make()
    for values, message in (
        (None, "attributes as a torch tensor, found NoneType"),
        (torch.ones(1, 3, 2).numpy(), "found ndarray: use torch.from_numpy"),
        (torch.tensor(1.0), "attributes of shape"),
    ):
        for method in (raster.edge_semantic, raster.soft_semantic):
            with pytest.raises(InputError, match=message):
                method(VERTS, FACES, K, SIZE, values)


def test_whole_number_types_of_faces_draw_the_same() -> None:
    raster = WarpRasterizer()
    wanted = raster.fragments(VERTS, FACES, K, SIZE).pix_to_face
    for dtype in (torch.int32, torch.int16, torch.uint8):
        found = raster.fragments(VERTS, FACES.to(dtype), K, SIZE).pix_to_face
        assert torch.equal(found, wanted)


def test_pictures_beyond_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_memory", lambda device: 2**30)
    raster = WarpRasterizer()
    with pytest.raises(InputError, match=r"faces_per_pixel=40000 .* GiB .*lower"):
        raster.fragments(VERTS, FACES, K, (200, 200), faces_per_pixel=40_000)
    assert raster.fragments(VERTS, FACES, K, (200, 200), faces_per_pixel=8) is not None


def test_free_memory_is_told_here() -> None:
    free = checks.free_memory(torch.device("cpu"))
    assert free is None or free > 2**26


@pytest.mark.parametrize("operator", ["fragments", "edge", "edge per face", "soft"])
def test_deterministic_gradients_do_not_depend_on_threads(operator: str) -> None:
    cameras = torch.tensor([[[60.0, 0, 30], [0, 60, 25], [0, 0, 1]]]).expand(3, 3, 3)
    verts = torch.rand(3, 400, 3) * 2 - torch.tensor([1.0, 1.0, -2.0])
    verts.requires_grad_(True)
    faces = torch.randint(400, (600, 3))
    rows = 600 if "face" in operator else 400
    values = torch.rand(1, rows, 5, requires_grad=True)
    upstream = torch.randn(3, 50, 60, 5)
    results = []
    for threads in (1, 2, 3, 8):
        raster = WarpRasterizer(deterministic=True, threads=threads)
        if operator == "fragments":
            out = raster.fragments(
                verts, faces, cameras, (50, 60), faces_per_pixel=5, blur_radius=1e-3
            )
            total = (out.zbuf * upstream).sum() + out.dists.sum() + out.bary_coords.sum() * 3
            results.append(torch.autograd.grad(total, verts))
            continue
        method = raster.soft_semantic if operator == "soft" else raster.edge_semantic
        image = method(verts, faces, cameras, (50, 60), values)
        total = (image.classes * upstream).sum() + image.alpha.sum()
        results.append((image.classes, *torch.autograd.grad(total, (verts, values))))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one, two)


def test_as_many_threads_as_torch_uses_unless_told() -> None:
    assert WarpRasterizer().threads == torch.get_num_threads()
    assert WarpRasterizer(threads=3).threads == 3
    for threads in (0, -2, 1.5, "2"):
        with pytest.raises(InputError, match=f"threads >= 1, found {threads!r}"):
            WarpRasterizer(threads=threads)
