"""Annotated people in pictures as samples: loaded, cut out and, for training, changed by chance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.body.smpl import Body
from meshreg.clothing.labels import UNKNOWN_LABEL, swap_sides
from meshreg.data.annotations import Annotations
from meshreg.data.bedlam import quarter_turned
from meshreg.data.crops import View, Window, cut_window
from meshreg.data.images import read_image, warp_image, warp_labels
from meshreg.data.labels import read_labels
from meshreg.data.random_views import RandomViews
from meshreg.data.sample import KEYPOINTS, NO_PART, Sample, joint_pixels
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import camera_from_focal, guess_camera
from meshreg.geometry.turned_crop import can_turn

JOINTS = SKELETONS["smplx45"]
_PLACES, _FOUND = map_joints(KEYPOINTS, JOINTS)
NEIGHBOUR_MARGIN = 30 / 224  # of the picture's side: how far labels reach beyond the keypoints


@dataclass(frozen=True)
class Pictures:
    """Where the pictures and label maps of a data set are, and how to take them.

    Args:
        folder: The names in the annotations are relative to it.
        masks: Folder of label maps, each named like its picture but `.png`, unless the annotations
            name it; people for whom there is none, and none is named, have unknown labels.
        scheme: What the ids of the label maps mean.
        size: Side of the square samples, pixels.
        focal: Focal length in pixels of pictures whose camera nobody knows; default a guess.
    """

    folder: Path
    masks: Path | None = None
    scheme: str = "cihp"
    size: int = 224
    focal: float | None = None


@dataclass(frozen=True, eq=False)
class _Known:
    """The true body of one person, in the full picture's camera."""

    betas: Float[Tensor, "S"]
    betas_weight: float
    pose_rotmat: Float[Tensor, "24 3 3"]
    pose_weight: Float[Tensor, "24"]
    transl: Float[Tensor, "3"]
    transl_weight: float
    pelvis_rest: Float[Tensor, "3"]
    joints: Float[Tensor, "45 3"]
    joints_weight: float
    vertices: Float[Tensor, "V 3"]


class PeopleInPictures(Dataset[Sample]):
    """The people of some annotations as samples of equal size; batch them with `stack`.

    `body` turns parameters into joints; with `gendered` bodies, as 3DPW's truth needs, everyone
    gets the one of their gender, and samples carry its vertices. Change `epoch` for new chance.
    """

    def __init__(  # noqa: PLR0913
        self,
        annotations: Annotations,
        pictures: Pictures,
        *,
        body: Body | None = None,
        gendered: Mapping[str, Body] | None = None,
        augmentation: RandomViews | None = None,
        seed: int = 0,
        stand_ins: bool = True,
        centred: bool = False,
    ) -> None:
        """Check the folders, and that the bodies are those of the annotations.

        With `stand_ins`, annotated keypoints are the pixels of the body's own joints of the same
        meaning where nothing better tells them. With `centred`, known cameras turn towards people
        before they are cut out, unless they could not see the whole box then.

        Raises:
            InputError: if a folder is missing or has none of the files, or a gender has no body.
        """
        assert not (gendered and augmentation), "gendered truth is for evaluation"
        self.annotations, self.pictures = annotations, pictures
        self.body, self.gendered = body, dict(gendered or {})
        self._landmarks = body.restricted_to(body.landmarks) if body is not None else None
        self.augmentation, self.seed, self.epoch = augmentation, seed, 0
        self.stand_ins, self.centred = stand_ins, centred
        _check_folder(pictures.folder, annotations)
        if pictures.masks is not None:
            self._check_masks(pictures.masks)
        if self.gendered:
            self._check_genders()

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def sequences(self) -> tuple[str, ...]:
        """Which clip each sample is from."""
        return self.annotations.sequences

    def __getitem__(self, index: int) -> Sample:
        """Load, change and cut out one person.

        Raises:
            InputError: if the picture or its label map cannot be read or do not fit together.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        image = read_image(self.pictures.folder / self.annotations.images[index])
        K_given = self.annotations.K[index]
        turned = self.annotations.may_lie_sideways and quarter_turned(image.shape[:2], K_given)
        labels = self._labels(index, image.shape[:2])
        if turned:
            image, labels = (np.ascontiguousarray(np.rot90(x, -1)) for x in (image, labels))
        rng = np.random.default_rng((self.seed, self.epoch, index))
        box = torch.from_numpy(self.annotations.box[index])
        view = self.augmentation.view(rng) if self.augmentation else None
        K_full, size = self._camera(index, image.shape[:2]), self.pictures.size
        if self.centred and np.isfinite(K_given).all() and _can_turn(box, K_full):
            view = replace(view or View(), centred=True)
        window = cut_window(K_full, image.shape[:2], box, size, view)
        to_crop = window.crop_from_full.numpy()
        pixels = warp_image(image, to_crop, (size, size))
        if self.augmentation:
            pixels = self.augmentation.recolored(pixels, rng)
        cut = torch.from_numpy(warp_labels(labels, to_crop, (size, size), UNKNOWN_LABEL))
        return self._sample(index, window, image.shape[:2], torch.from_numpy(pixels), cut)

    # --- what is there ----------------------------------------------------------------------------
    def _camera(self, index: int, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
        K = self.annotations.K[index]
        if np.isfinite(K).all():
            return torch.from_numpy(K)
        focal = self.pictures.focal
        return (camera_from_focal(focal, size) if focal else guess_camera(size)).K.double()

    def _mask_path(self, index: int) -> Path | None:
        if self.pictures.masks is None:
            return None
        name = self.annotations.masks[index] or self.annotations.images[index]
        return (self.pictures.masks / name).with_suffix(".png")

    def _labels(self, index: int, size: tuple[int, int]) -> np.ndarray:  # (H, W)
        path = self._mask_path(index)
        named = bool(self.annotations.masks[index])  # then it must be there
        if path is None or not (named or path.is_file()):
            return np.full(size, UNKNOWN_LABEL, np.uint8)
        return read_labels(path, size, self.pictures.scheme)

    def _check_masks(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MissingFileError(f"no folder of label maps at {folder}: check the path.")
        paths = (self._mask_path(index) for index in range(len(self)))
        if not any(path is not None and path.is_file() for path in paths):
            raise MissingFileError(
                f"{folder} has no label map of any picture of {self.annotations.source}, such as "
                f"{self._mask_path(0)}: name them like their pictures, but .png."
            )

    def _check_genders(self) -> None:
        lacking = set(self.annotations.genders) - set(self.gendered)
        if lacking:
            names = ", ".join(sorted(gender or "people without a gender" for gender in lacking))
            raise InputError(
                f"{self.annotations.source} has truth for {names}, for which there is no body: add "
                "the licensed files with `meshreg models add`, or use one body for all."
            )
        if not all(self.annotations.fits(body) for body in self.gendered.values()):
            raise InputError(
                f"{self.annotations.source} is about SMPL's bodies: give SMPL's as gendered ones."
            )

    # --- the body ---------------------------------------------------------------------------------
    def _known(self, index: int) -> _Known:
        """The truth about the body; zeros, with weight zero, where there is none."""
        a = self.annotations
        body = self.gendered.get(a.genders[index], self.body)
        fits = body is not None and a.fits(body)
        width = body.num_betas if body is not None else a.betas.shape[1]
        betas = torch.zeros(width)
        betas_weight = float(a.betas_weight[index]) if fits or body is None else 0.0
        if betas_weight:
            given = torch.from_numpy(a.betas[index]).float()[:width]
            betas[: len(given)] = given
        pose = roma.rotvec_to_rotmat(torch.from_numpy(a.pose_rotvec[index])).float()
        transl = torch.from_numpy(a.transl[index]).float()
        pelvis, joints, vertices = torch.zeros(3), torch.zeros(45, 3), torch.zeros(0, 3)
        whole = min(betas_weight, float(a.pose_weight[index].min()))
        if body is not None:
            pelvis = body.rest_joints(betas[None])[0, 0]
        if body is not None and whole:
            # Without gendered truth only the landmarks are posed: a hundredth of the work.
            used = body if self.gendered else self._landmarks
            assert used is not None
            with torch.no_grad():
                surface, kinematic = used.skin(betas[None], pose[None], transl[None])
            marks = surface[0, body.landmarks] if self.gendered else surface[0]
            joints = torch.cat([kinematic[0], marks])
            vertices = surface[0] if self.gendered else vertices
        elif body is not None and self.gendered:
            vertices = torch.zeros(len(body.v_template), 3)
        return _Known(
            betas=betas,
            betas_weight=betas_weight,
            pose_rotmat=pose,
            pose_weight=torch.from_numpy(a.pose_weight[index]).float(),
            transl=transl,
            transl_weight=float(a.transl_weight[index]) if fits or body is None else 0.0,
            pelvis_rest=pelvis,
            joints=joints,
            joints_weight=whole if body is not None else 0.0,
            vertices=vertices,
        )

    # --- the sample -------------------------------------------------------------------------------
    def _sample(
        self,
        index: int,
        window: Window,
        full_size: tuple[int, int],
        image: Tensor,
        labels: Tensor,
    ) -> Sample:
        a, size = self.annotations, self.pictures.size
        known = self._known(index)
        shift = torch.zeros(3, dtype=torch.float64)
        if not known.transl_weight:  # keep the pelvis where it was: only directions are known
            pelvis = known.pelvis_rest + known.transl
            shift = pelvis.double() - window.points(pelvis[None])[0]
        transl = window.transl(known.transl, known.pelvis_rest) + shift
        joints = window.points(known.joints, JOINTS) + shift
        keypoints = window.swapped(torch.from_numpy(a.keypoints_px[index]), KEYPOINTS)
        points = window.swapped(torch.from_numpy(a.keypoints_cam[index]), KEYPOINTS)
        pixels, visible = self._joint_pixels(index, window, known, joints)
        keypoints_px = window.pixels(keypoints[:, :2]) * (keypoints[:, 2:] > 0)
        if window.flip:
            labels = swap_sides(labels)
        empty = torch.zeros(size, size, dtype=torch.uint8)
        return Sample(
            image=image.permute(2, 0, 1).contiguous(),
            K=window.K.float(),
            K_full=window.K_full.float(),
            full_size=torch.tensor(full_size),
            box=window.box.float(),
            betas=known.betas,
            pose_rotmat=window.pose(known.pose_rotmat).float(),
            transl=transl.float(),
            joints_cam=(joints * (known.joints_weight > 0)).float(),
            joints_px=pixels,
            joints_visible=visible,
            joints_self_hidden=torch.zeros(45, dtype=torch.bool),
            vertices_cam=(window.points(known.vertices) + shift).float(),
            labels=_only_subject(labels, keypoints_px, keypoints[:, 2]),
            depth=torch.zeros(size, size),
            part=torch.full_like(empty, NO_PART),
            instance=empty,
            index=torch.tensor(index),
            K_weight=torch.tensor(float(np.isfinite(a.K[index]).all())),
            betas_weight=torch.tensor(known.betas_weight),
            pose_weight=window.swapped(known.pose_weight, SKELETONS["smpl24"]),
            transl_weight=torch.tensor(known.transl_weight),
            joints_weight=torch.full((45,), known.joints_weight),
            keypoints_px=keypoints_px.float(),
            keypoints_weight=keypoints[:, 2].float(),
            keypoints_cam=window.points(points[:, :3]).float(),
            keypoints_cam_weight=points[:, 3].float(),
        )

    def _joint_pixels(
        self, index: int, window: Window, known: _Known, joints: Float[Tensor, "45 3"]
    ) -> tuple[Tensor, Tensor]:
        """Where the body's joints are seen, from the best source there is, and which are inside.

        Nobody says which of them something else hides.
        """
        a = self.annotations
        if known.joints_weight and known.transl_weight and np.isfinite(a.K[index]).all():
            pixels = joint_pixels(joints.float()[None], window.K.float()[None])[0]
            weight = (joints[:, 2] > 0).double()
        else:
            given = torch.from_numpy(a.joints_px[index])
            keypoints = torch.from_numpy(a.keypoints_px[index])[_PLACES]
            same = torch.tensor(_FOUND) & (given[:, 2] == 0) & self.stand_ins
            given = torch.where(same[:, None], keypoints, given)
            weight = window.swapped(given[:, 2], JOINTS)
            pixels = (window.pixels(given[:, :2], JOINTS) * (weight > 0)[:, None]).float()
        inside = ((pixels > -0.5) & (pixels < window.size - 0.5)).all(1)
        return pixels, inside & (weight > 0)


def _can_turn(box: Float[Tensor, "3"], K: Float[Tensor, "3 3"]) -> bool:
    """Whether a camera that turned towards a square box would see all of it."""
    corners = torch.cat([box[:2] - box[2] / 2, box[:2] + box[2] / 2])
    return bool(can_turn(corners, K.to(corners)))


def _only_subject(
    labels: Tensor, keypoints_px: Float[Tensor, "49 2"], weight: Float[Tensor, "49"]
) -> Tensor:
    """The labels with those unknown that lie far from the person's keypoints: they are others'."""
    known = keypoints_px[weight > 0]
    if not len(known):
        return labels
    size = labels.shape[0]
    low, high = known.amin(0) - NEIGHBOUR_MARGIN * size, known.amax(0) + NEIGHBOUR_MARGIN * size
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    near = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    return torch.where(near | (labels == 0), labels, UNKNOWN_LABEL).to(torch.uint8)


def _check_folder(folder: Path, annotations: Annotations) -> None:
    if not folder.is_dir():
        raise MissingFileError(f"no folder of pictures at {folder}: check the path.")
    first = folder / annotations.images[0]
    if not any((folder / image).is_file() for image in annotations.images[:100]):
        raise MissingFileError(
            f"{folder} has no picture of {annotations.source}, such as {first}: give the folder "
            "that the names in the annotations start from."
        )
