"""People from pictures with a trained regressor: cut out, batched, put back into the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.data.boxes import check_boxes, square_around, whole_picture
from meshreg.data.crops import cut_window
from meshreg.data.exif import picture_camera
from meshreg.data.images import read_image, upright_rgb, warp_image
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import Camera, guess_camera
from meshreg.geometry.turned_crop import TurnedCrop, crop_towards
from meshreg.models.regressors import (
    Regressor,
    bodies_in_turned_view,
    bodies_in_view,
    load_regressor,
)
from meshreg.predictor.person import Person
from meshreg.predictor.trusting import SeenJoints, seen_joints
from meshreg.render.annotate import check_image
from meshreg.render.overlay import draw_overlay

Picture = np.ndarray | Image.Image | str | Path  # RGB (H, W, 3) uint8, Pillow's, or a file
DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "default.safetensors"
MARGIN = 1.15  # sides of a person's tight box; training draws them from 0.95 to 1.4


@dataclass(frozen=True, eq=False)
class _Crop:
    """One person cut out, with all that is needed to put the body back."""

    pixels: Tensor  # (3, S, S) uint8
    square: Tensor  # (3,) centre x, centre y, side, pixels of the whole picture
    camera: Camera
    box: np.ndarray  # (4,)
    score: float
    image_index: int
    turned: TurnedCrop | None  # for networks that are shown pictures of turned cameras


class Predictor:
    """A trained regressor that takes whole pictures and gives people in their cameras.

    The model is put into evaluation mode and stays on its device; what comes out is numpy.
    """

    def __init__(self, model: Regressor, *, batch_size: int = 32, margin: float = MARGIN) -> None:
        """`margin` is the side of the network's square view per longer side of a person's box."""
        if batch_size < 1 or not 0.3 <= margin <= 4:
            raise InputError(
                f"expected a batch size of at least 1 and a margin between 0.3 and 4, not "
                f"{batch_size} and {margin:g}."
            )
        self.model, self.batch_size, self.margin = model.eval(), batch_size, margin

    @property
    def body(self) -> Body:
        """The body that is predicted; its faces draw the vertices."""
        return self.model.body

    @property
    def knows_its_doubts(self) -> bool:
        """Whether people come with what the network saw and how sure it was (`Person.seen`)."""
        return getattr(self.model, "doubts", None) is not None

    def predict(
        self,
        images: Picture | Sequence[Picture],
        boxes: Any = None,
        camera: Camera | Sequence[Camera] | None = None,
        *,
        scores: Any = None,
    ) -> list[Person]:
        """The people in one or several pictures, in the order of pictures and boxes.

        Args:
            images: one picture or a list: RGB arrays (H, W, 3) uint8, Pillow's, or files; the
                latter two are turned upright first, and boxes and cameras are about that.
            boxes: (N, 4) left, top, right, bottom in pixels, a list of these for a list of
                pictures; None takes each whole picture for one person.
            camera: of the whole picture, one for all or a list; None takes the focal length from
                EXIF data, and guesses where there are none.
            scores: (N,) of the boxes, as `boxes`; kept with each person.

        Raises:
            InputError: if a picture, box or camera cannot be used.
        """
        several = isinstance(images, (list, tuple))
        pictures: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
        count = len(pictures)
        cameras: list[Any] = list(camera) if isinstance(camera, (list, tuple)) else [camera] * count
        per_boxes = _for_each(boxes, count, several, "boxes")
        per_scores = _for_each(scores, count, several, "scores")
        if len(cameras) != count:
            raise InputError(f"expected a camera for each of {count} pictures, not {len(cameras)}.")
        people: list[Person] = []
        waiting: list[_Crop] = []
        # One picture at a time: many large ones need not fit into memory together.
        for index, picture in enumerate(pictures):
            image = _rgb(picture)
            own = cameras[index] or _camera(picture, image)
            given = per_boxes[index], per_scores[index], own
            waiting += self._crops(image, _name(picture, index), index, *given)
            while len(waiting) >= self.batch_size:
                people += self._people(waiting[: self.batch_size])
                waiting = waiting[self.batch_size :]
        return people + self._people(waiting)

    def overlay(self, image: Picture, people: Sequence[Person], **options: Any) -> np.ndarray:
        """The picture with its people's bodies on it; `options` are those of `draw_overlay`."""
        picture = _rgb(image)
        if not people:
            return picture.copy()
        K = torch.from_numpy(people[0].K)
        vertices = [torch.from_numpy(person.vertices_cam) for person in people]
        return draw_overlay(picture, vertices, self.body.faces.cpu(), K, **options)

    def _crops(
        self,
        image: np.ndarray,
        what: str,
        index: int,
        boxes: Any,
        scores: Any,
        camera: Camera,
    ) -> list[_Crop]:
        size = image.shape[0], image.shape[1]
        if camera.size != size or camera.K.shape != (3, 3):
            raise InputError(
                f"the camera is for a {camera.size[1]}x{camera.size[0]} picture but {what} is "
                f"{size[1]}x{size[0]}: give the camera of this picture."
            )
        # A box that nobody gave is not tight around anybody: it gets no margin.
        margin = 1.0 if boxes is None else self.margin
        corners = whole_picture(size)[None] if boxes is None else check_boxes(boxes, size, what)
        values = np.ones(len(corners)) if scores is None else np.asarray(scores, float).reshape(-1)
        if len(values) != len(corners):
            raise InputError(f"{what} has {len(corners)} boxes but {len(values)} scores.")
        return [
            self._cut(image, box, camera, margin, float(score), index)
            for box, score in zip(corners, values, strict=True)
        ]

    def _cut(  # noqa: PLR0913
        self,
        image: np.ndarray,
        box: np.ndarray,
        camera: Camera,
        margin: float,
        score: float,
        index: int,
    ) -> _Crop:
        """What the network sees of a box, and the square that it shows.

        Raises:
            InputError: if the camera is to turn towards the box and cannot.
        """
        square, turned = torch.from_numpy(square_around(box, margin)), None
        side, how = self.model.image_size, self.model.centred
        if how == "none":
            crop_from_full = cut_window(camera.K, camera.size, square, side).crop_from_full
        else:
            corners = torch.cat([square[:2] - square[2] / 2, square[:2] + square[2] / 2])
            turns = torch.tensor(camera.known)  # as in training, where guesses do not turn
            turned = crop_towards(
                corners, camera.K.double(), side, how=how, turned=turns, fit=self.model.fit
            )
            crop_from_full = turned.crop_from_full
        pixels = torch.from_numpy(warp_image(image, crop_from_full.numpy(), (side, side)))
        return _Crop(pixels.permute(2, 0, 1), square, camera, box, score, index, turned)

    @torch.inference_mode()
    def _people(self, crops: list[_Crop]) -> list[Person]:
        if not crops:
            return []
        device = self.body.v_template.device
        K = torch.stack([crop.camera.K for crop in crops]).to(device, torch.float32)
        box = torch.stack([crop.square for crop in crops]).to(device, torch.float32)
        pixels = torch.stack([crop.pixels for crop in crops]).to(device)
        known = torch.tensor([crop.camera.known for crop in crops], device=device)
        each = [crop.turned for crop in crops if crop.turned is not None]
        turned = _stacked(each).to(device) if each else None
        if turned is not None:
            found = bodies_in_turned_view(self.model, pixels, turned, known_camera=known)
        else:
            found = bodies_in_view(self.model, pixels, K_full=K, box=box, known_camera=known)
        posed = self.model.mesh(found)
        seen = seen_joints(self.model, found, posed.joints, K_full=K, box=box, turned=turned)
        columns = (found.betas, found.pose_rotmat, found.transl, posed.vertices, posed.joints)
        rows = zip(*(column.cpu().numpy() for column in columns), strict=True)
        return [self._person(*row) for row in zip(crops, seen, rows, strict=True)]

    def _person(
        self, crop: _Crop, seen: SeenJoints | None, numbers: tuple[np.ndarray, ...]
    ) -> Person:
        betas, pose_rotmat, transl, vertices, joints = (number.copy() for number in numbers)
        return Person(
            body=self.body.data.name,
            topology_hash=self.body.topology_hash,
            betas=betas,
            pose_rotmat=pose_rotmat,
            transl=transl,
            vertices_cam=vertices,
            joints_cam=joints,
            K=crop.camera.K.numpy(),
            K_source=crop.camera.source,
            K_known=crop.camera.known,
            image_size=crop.camera.size,
            box=crop.box.astype(np.float32),
            score=crop.score,
            image_index=crop.image_index,
            seen=seen,
        )


def load_model(
    path: str | Path | None = None, *, body: Body | None = None, device: str = "cpu"
) -> Predictor:
    """The predictor of a model file, by default of the weights that come with meshreg.

    `body` saves loading the body that the model was trained with, or gives a licensed one.

    Raises:
        MissingFileError: if the file, or the body, is not there.
        InputError: if the file is damaged, of another kind, or of another body.
    """
    if path is None and not DEFAULT_MODEL.is_file():
        raise MissingFileError(
            f"this copy of meshreg comes without trained weights ({DEFAULT_MODEL.name}): train a "
            "model with `meshreg train` and give its file, load_model(PATH) or --model PATH."
        )
    model = load_regressor(Path(path) if path is not None else DEFAULT_MODEL, body=body)
    return Predictor(model.to(device))


def _stacked(crops: Sequence[TurnedCrop]) -> TurnedCrop:
    """Several crops as one batch, in single precision."""
    parts = {
        name: torch.stack([getattr(crop, name) for crop in crops]).float()
        for name in ("R_crop_full", "K", "K_full")
    }
    return TurnedCrop(size=crops[0].size, **parts)


def _for_each(values: Any, count: int, several: bool, what: str) -> list[Any]:
    """What was given for each picture; for a single picture it is not in a list."""
    if values is None:
        return [None] * count
    given = list(values) if several else [values]
    if len(given) != count:
        raise InputError(f"expected {what} for each of {count} pictures, found {len(given)}.")
    return given


def _name(picture: Picture, index: int) -> str:
    return Path(picture).name if isinstance(picture, (str, Path)) else f"picture {index}"


def _camera(picture: Picture, image: np.ndarray) -> Camera:
    """The camera that a file tells; arrays tell nothing."""
    size = image.shape[0], image.shape[1]
    return guess_camera(size) if isinstance(picture, np.ndarray) else picture_camera(picture, size)


def _rgb(picture: Picture) -> np.ndarray:
    """Any picture as an upright RGB array (H, W, 3) uint8."""
    if isinstance(picture, (str, Path)):
        return read_image(picture)
    if isinstance(picture, Image.Image):
        return upright_rgb(picture)
    check_image(picture)
    return picture
