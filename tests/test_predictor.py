"""People put back into whole pictures: exactly, in any order, from any kind of picture."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import roma
import torch
from PIL import Image
from torch import Tensor, nn

import meshreg
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.export import load_npz, save_npz
from meshreg.geometry.cameras import Camera, camera_from_fov, intrinsics
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.builders import build_hmr
from meshreg.models.checkpoint import save_model
from meshreg.models.hmr import HMR
from meshreg.models.outputs import BodyState
from meshreg.predictor import regress
from meshreg.predictor.person import Person
from meshreg.predictor.regress import Predictor, load_model

SIZE = (240, 320)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def tiny_model(body: Body, image_size: int = 128, *, conditioned: bool = True) -> HMR:
    """Random weights; the head's last layers are scaled up so that pictures make a difference."""
    torch.manual_seed(3)
    architecture = replace(
        ARCHITECTURES["hmr_small"], width=32, conditioned=conditioned, image_size=image_size
    )
    return build_hmr(architecture, body=body).eval()


@pytest.fixture(scope="module")
def predictor(body: Body) -> Predictor:
    return Predictor(tiny_model(body))


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def body_6d(rotmat: Tensor) -> Tensor:
    """The first two columns of each rotation, interleaved row by row."""
    return rotmat[..., :2].reshape(len(rotmat), -1)


def skew_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """Any lens, pixels not quite square, principal point off the middle."""
    focal = float(rng.uniform(0.6, 3.0)) * max(size)
    x, y = rng.uniform(0.3, 0.7, 2) * size[::-1]
    K = intrinsics(focal, focal * float(rng.uniform(0.98, 1.02)), float(x), float(y))
    return Camera(K=K, size=size, source="drawn by a test")


# --- exactness ------------------------------------------------------------------------------------
class Oracle(nn.Module):
    """Knows the truth, and says it as a network has to: in terms of the crop that it is shown.

    The three numbers of the camera are computed from the picture of a pinhole camera alone: where
    in the crop the body's origin appears, and how many half sides a metre is at its depth.
    """

    num_condition = 3

    def __init__(self, pose: Tensor, betas: Tensor, transl: Tensor, K: Tensor) -> None:
        super().__init__()
        self.pose, self.betas, self.transl, self.K = pose, betas, transl, K

    def forward(self, features: Tensor, condition: Tensor) -> list[BodyState]:
        # What the network is told: tangents to the box's centre, and its side over the focal length
        fx, fy = self.K[0, 0], self.K[1, 1]
        side = condition[:, 2] * (fx * fy).sqrt()
        centre_x, centre_y = (
            condition[:, 0] * fx + self.K[0, 2],
            condition[:, 1] * fy + self.K[1, 2],
        )
        u = self.K[0, 0] * self.transl[:, 0] / self.transl[:, 2] + self.K[0, 2]
        v = self.K[1, 1] * self.transl[:, 1] / self.transl[:, 2] + self.K[1, 2]
        per_metre = (fx * fy).sqrt() / self.transl[:, 2] / (side / 2)
        place = torch.stack([(u - centre_x) / (side / 2), (v - centre_y) / (side / 2)], 1)
        cam = torch.cat([per_metre[:, None], place / per_metre[:, None]], 1)
        return [BodyState(body_6d(self.pose), self.betas, cam)]


@pytest.mark.parametrize("seed", range(6))
def test_a_perfect_network_puts_everybody_where_they_are(seed: int, body: Body) -> None:
    """For any boxes and camera, large and small, cut off by the border, off centre."""
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(100, 700)), int(rng.integers(100, 700)))
    camera, count = skew_camera(rng, size), 3
    torch.manual_seed(seed)
    pose = roma.random_rotmat(count * 24).reshape(count, 24, 3, 3)
    betas = torch.randn(count, 10)
    depth = torch.rand(count) * 6 + 2
    ray = torch.randn(count, 2) * 0.2
    transl = torch.cat([ray, torch.ones(count, 1)], 1) * depth[:, None]
    truth = body(betas, pose, transl)
    model = tiny_model(body)
    model.head = Oracle(pose, betas, transl, camera.K)  # type: ignore[assignment]
    centres = rng.uniform(0, 1, (count, 2)) * size[::-1]
    halves = rng.uniform(10, 200, (count, 2))
    boxes = np.concatenate([centres - halves, centres + halves], 1)
    people = Predictor(model).predict(picture(seed, size), boxes, camera)
    for person, vertices, joints in zip(people, truth.vertices, truth.joints, strict=True):
        pixels = [points @ camera.K.numpy().T for points in (person.vertices_cam, vertices.numpy())]
        found, expected = (p[:, :2] / p[:, 2:] for p in pixels)
        in_front = vertices[:, 2].numpy() > 0.3
        error = np.linalg.norm(found - expected, axis=1)[in_front]
        assert error.max() < 0.5
        np.testing.assert_allclose(person.joints_cam, joints.numpy(), atol=2e-3)


class DotFinder(nn.Module):
    """A backbone that sees one bright dot, and tells where it is in the crop."""

    def forward(self, image: Tensor) -> Tensor:
        light = image.float().mean(1)
        grid = torch.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
        total = light.sum((1, 2))
        x, y = (light.sum(1) * grid).sum(1) / total, (light.sum(2) * grid).sum(1) / total
        return torch.stack([x, y], 1) / (image.shape[-1] / 2)


class Pointer(nn.Module):
    """A head that puts the body's origin where the dot is."""

    num_condition = 0

    def forward(self, dot: Tensor, condition: Tensor | None) -> list[BodyState]:
        pose = torch.eye(3).expand(len(dot), 24, 3, 3)
        scale = torch.full((len(dot), 1), 0.8)
        cam = torch.cat([scale, dot / scale], 1)
        return [BodyState(body_6d(pose), torch.zeros(len(dot), 10), cam)]


@pytest.mark.parametrize("image_size", [96, 128])
@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_cameras_are_cut_alike(seed: int, image_size: int, body: Body) -> None:
    """What a network sees at some place of its crop lies at that place of the whole picture."""
    rng = np.random.default_rng(seed)
    size = (400, 500)
    image = np.zeros((*size, 3), np.uint8)
    x, y = int(rng.integers(100, 400)), int(rng.integers(100, 300))
    image[y - 4 : y + 5, x - 4 : x + 5] = 255
    half = rng.uniform(15, 150, 2)
    centre = np.array([x, y]) + rng.uniform(-0.5, 0.5, 2) * half.max()
    model = tiny_model(body, image_size)
    model.backbone = DotFinder()  # type: ignore[assignment]
    model.backbone.register_buffer("mean", torch.zeros(3))
    model.head = Pointer()  # type: ignore[assignment]
    camera = skew_camera(rng, size)
    box = np.concatenate([centre - half, centre + half])
    (person,) = Predictor(model).predict(image, box, camera)
    u, v, w = camera.K.numpy() @ person.transl
    assert np.hypot(u / w - x, v / w - y) < 0.15


# --- batches, orders, kinds of pictures -----------------------------------------------------------
def same(first: Person, second: Person, atol: float = 1e-4) -> bool:
    return all(
        np.allclose(getattr(first, name), getattr(second, name), atol=atol)
        for name in ("betas", "pose_rotmat", "transl", "vertices_cam", "joints_cam", "K", "box")
    )


def test_batches_are_single_people_side_by_side(predictor: Predictor, body: Body) -> None:
    images = [picture(0), picture(1, (180, 200)), picture(2)]
    boxes = [[[20, 30, 120, 200], [100, 40, 250, 230]], np.zeros((0, 4)), [[10, 10, 80, 90]]]
    cameras = [
        camera_from_fov(fov, image.shape[:2])
        for fov, image in zip((40.0, 50.0, 60.0), images, strict=True)
    ]
    small = Predictor(predictor.model, batch_size=2).predict(images, boxes, cameras)
    assert [person.image_index for person in small] == [0, 0, 2]
    alone = [
        *predictor.predict(images[0], boxes[0][:1], cameras[0]),
        *predictor.predict(images[0], boxes[0][1:], cameras[0]),
        *predictor.predict(images[2], boxes[2], cameras[2]),
    ]
    assert all(same(a, b) for a, b in zip(small, alone, strict=True))
    assert not same(small[0], small[1]), "the random network does look at its input"


def test_without_boxes_the_whole_picture_is_one_person(predictor: Predictor) -> None:
    (person,) = predictor.predict(picture())
    np.testing.assert_array_equal(person.box, [-0.5, -0.5, 319.5, 239.5])
    assert person.K_source.startswith("guessed") and person.score == 1.0


def test_scores_stay_with_their_boxes(predictor: Predictor) -> None:
    people = predictor.predict(picture(), [[0, 0, 50, 90], [40, 0, 90, 90]], scores=[0.9, 0.4])
    assert [person.score for person in people] == [0.9, 0.4]


def test_every_kind_of_picture_is_the_same(predictor: Predictor, tmp_path: Path) -> None:
    image = picture()
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    kinds = [image, Image.fromarray(image), path, str(path), Image.fromarray(image).convert("RGBA")]
    people = predictor.predict(kinds, [[30, 30, 200, 200]] * len(kinds))
    assert all(same(people[0], other, atol=1e-5) for other in people[1:])


def test_a_picture_lying_on_its_side_is_turned_by_its_exif(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Boxes and cameras are those of the upright picture."""
    image = picture()
    turned = Image.fromarray(np.rot90(image).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it
    path = tmp_path / "photo.png"
    turned.save(path, exif=exif)
    box, camera = [30, 30, 300, 200], camera_from_fov(50.0, SIZE)
    with Image.open(path) as opened:
        kinds = (image, path, opened)
        upright, file, pillow = (predictor.predict(kind, box, camera)[0] for kind in kinds)
    assert same(upright, file, atol=1e-6) and same(upright, pillow, atol=1e-6)


def test_files_tell_their_focal_length(predictor: Predictor, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 50
    path = tmp_path / "photo.jpg"
    Image.fromarray(picture()).save(path, exif=exif)
    with Image.open(path) as opened:
        people = predictor.predict([path, opened, picture()])
    assert [person.K_source.startswith("EXIF: 50 mm") for person in people] == [True, True, False]
    (given,) = predictor.predict(path, camera=camera_from_fov(50.0, SIZE))
    assert "50 degrees" in given.K_source


# --- what a person can do -------------------------------------------------------------------------
def test_a_record_survives_its_file_and_poses_the_same_body(
    predictor: Predictor, body: Body, tmp_path: Path
) -> None:
    (person,) = predictor.predict(picture(), [20, 30, 120, 200])
    save_npz(tmp_path / "person.npz", person.record())
    read = load_npz(tmp_path / "person.npz")
    smplx = body.to_smplx()
    values = (read.betas, read.global_orient, read.body_pose.reshape(69), read.transl)
    betas, orient, pose, transl = (torch.from_numpy(value)[None] for value in values)
    output = smplx(betas=betas, global_orient=orient, body_pose=pose, transl=transl)
    np.testing.assert_allclose(output.vertices[0].numpy(), read.vertices_cam, atol=1e-4)
    np.testing.assert_allclose(output.joints[0, :24].numpy(), read.joints_cam, atol=1e-4)
    assert read.image_size == SIZE and read.keypoint_names == ()


def test_people_hide_each_other_in_an_overlay(predictor: Predictor) -> None:
    """Two people at one place, one nearer: only the nearer one is seen there."""
    camera = camera_from_fov(50.0, SIZE)
    image = np.full((*SIZE, 3), 90, np.uint8)
    (person,) = predictor.predict(image, [80, 20, 240, 220], camera)
    pose = torch.eye(3).repeat(24, 1, 1)
    pose[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    near, far = (
        person.posed(predictor.body, torch.zeros(10), pose, torch.tensor([0.0, 0.0, depth]))
        for depth in (2.5, 5.0)
    )
    colors = [(255, 0, 0), (0, 255, 0)]
    both = predictor.overlay(image, [near, far], color=colors, alpha=1.0)
    only = predictor.overlay(image, [near], color=colors, alpha=1.0)
    seen = (only != image).any(2)
    inside = cv2.erode(seen.astype(np.uint8), np.ones((3, 3))) > 0
    np.testing.assert_array_equal(both[inside], only[inside])
    assert (predictor.overlay(image, []) == image).all()


# --- files ----------------------------------------------------------------------------------------
def test_a_file_of_weights_is_all_that_is_needed(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, predictor.model)
    loaded = load_model(path)
    assert loaded.model.image_size == 128
    expected = predictor.predict(picture(), [20, 30, 120, 200])[0]
    assert same(loaded.predict(picture(), [20, 30, 120, 200])[0], expected, atol=1e-6)
    monkeypatch.setattr(regress, "DEFAULT_MODEL", path)
    assert same(meshreg.load_model().predict(picture(), [20, 30, 120, 200])[0], expected)


def test_without_shipped_weights_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regress, "DEFAULT_MODEL", tmp_path / "default.safetensors")
    with pytest.raises(MissingFileError, match="meshreg train.*load_model"):
        load_model()


# --- bad input ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([400, 10, 500, 90], "lies outside the picture"),
        ([-90, 10, -20, 90], "lies outside the picture"),
        ([10, 10, np.nan, 90], "not finite"),
        ([50, 10, 40, 90], "ends before it begins"),
        ([50, 10, 51, 12], "smaller than"),
        ([-9e8, 10, 9e8, 90], "far larger"),
        ([1, 2, 3], r"shape \(3,\)"),
        (["a", 1, 2, 3], "not numbers"),
    ],
)
def test_boxes_that_are_none(predictor: Predictor, box: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        predictor.predict(picture(), box)


def test_lists_of_other_lengths(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="boxes for each of 2 pictures, found 1"):
        predictor.predict([picture(), picture()], [[[0, 0, 9, 9]]])
    with pytest.raises(InputError, match="2 boxes but 1 scores"):
        predictor.predict(picture(), [[0, 0, 9, 9], [0, 0, 9, 9]], scores=[1.0])
    with pytest.raises(InputError, match="a camera for each of 1"):
        predictor.predict([picture()], camera=[])


def test_the_camera_of_another_picture(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="100x100 picture but picture 0 is 320x240"):
        predictor.predict(picture(), camera=camera_from_fov(50.0, (100, 100)))


def test_arrays_that_are_no_pictures(predictor: Predictor) -> None:
    with pytest.raises(InputError, match="8-bit|uint8"):
        predictor.predict(picture().astype(np.float32))
    with pytest.raises(InputError, match="batch size"):
        Predictor(predictor.model, batch_size=0)
