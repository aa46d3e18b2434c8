"""Left-right mirror images of samples: the picture, its maps, the camera, and the body in it.

Whoever is mirrored lifts the left arm where the right one was, so everything that has a side
changes it. A body that is symmetric itself (the built-in one is) then fits exactly.
"""

from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.clothing.labels import flip_labels
from meshreg.data.sample import KEYPOINTS, NO_PART, Batch, Sample

JOINTS = SKELETONS["smplx45"].flip
BONES = SKELETONS["smpl24"].flip
ANNOTATED = KEYPOINTS.flip


def mirrored_pose(pose_rotmat: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """The pose of the mirror image, in the mirrored camera: sides change, turns reverse."""
    mirror = pose_rotmat.new_tensor([-1.0, 1.0, 1.0])
    return mirror[:, None] * pose_rotmat[..., BONES, :, :] * mirror


def mirrored(batch: Batch, which: Bool[Tensor, " B"]) -> Batch:
    """The batch with these samples mirrored; mirroring twice changes nothing.

    Add vertices afterwards, not before (see `with_vertices`).
    """
    assert batch.vertices_cam.shape[1] == 0, "mirror before adding vertices"
    other = _all_mirrored(batch)

    def chosen(name: str) -> Tensor:
        ours: Tensor = getattr(batch, name)
        rows = which.to(ours.device).reshape(-1, *[1] * (ours.ndim - 1))
        return torch.where(rows, getattr(other, name), ours)

    return Sample(**{field.name: chosen(field.name) for field in fields(Sample)})


def _all_mirrored(batch: Batch) -> Batch:
    width, full_width = batch.image.shape[-1], batch.full_size[:, 1].to(batch.box.dtype)
    mirror = batch.transl.new_tensor([-1.0, 1.0, 1.0])
    box = torch.cat([full_width[:, None] - 1 - batch.box[:, :1], batch.box[:, 1:]], 1)
    changes: dict[str, Any] = {
        "image": batch.image.flip(-1),
        "K": _mirrored_K(batch.K, torch.full_like(full_width, width)),
        "K_full": _mirrored_K(batch.K_full, full_width),
        "box": box,
        "pose_rotmat": mirrored_pose(batch.pose_rotmat),
        "transl": batch.transl * mirror,
        "joints_cam": batch.joints_cam[:, JOINTS] * mirror,
        "joints_px": _mirrored_px(batch.joints_px[:, JOINTS], width),
        "joints_visible": batch.joints_visible[:, JOINTS],
        "joints_self_hidden": batch.joints_self_hidden[:, JOINTS],
        "labels": flip_labels(batch.labels),
        "depth": batch.depth.flip(-1),
        "part": mirrored_parts(batch.part),
        "instance": batch.instance.flip(-1),
        "pose_weight": batch.pose_weight[:, BONES],
        "joints_weight": batch.joints_weight[:, JOINTS],
        "keypoints_px": _mirrored_px(batch.keypoints_px[:, ANNOTATED], width),
        "keypoints_weight": batch.keypoints_weight[:, ANNOTATED],
        "keypoints_cam": batch.keypoints_cam[:, ANNOTATED] * mirror,
        "keypoints_cam_weight": batch.keypoints_cam_weight[:, ANNOTATED],
    }
    return replace(batch, **changes)


def _mirrored_px(points: Float[Tensor, "B N 2"], width: int) -> Float[Tensor, "B N 2"]:
    return torch.stack([width - 1 - points[..., 0], points[..., 1]], -1)


def _mirrored_K(K: Float[Tensor, "B 3 3"], width: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """K that sees mirrored points where the mirrored picture of that width shows them."""
    mirror = torch.zeros_like(K)
    mirror[:, 0, 0], mirror[:, 0, 2], mirror[:, 1, 1], mirror[:, 2, 2] = -1.0, width - 1, 1.0, 1.0
    # The second mirror turns the points, so that both focal lengths stay positive.
    return mirror @ K * K.new_tensor([-1.0, 1.0, 1.0])


def mirrored_parts(part: UInt8[Tensor, "B H W"]) -> Shaped[Tensor, "B H W"]:
    """The map of body parts of the mirror image."""
    table = torch.full((256,), NO_PART, dtype=torch.uint8, device=part.device)
    table[: len(BONES)] = torch.tensor(BONES, dtype=torch.uint8)
    return table[part.long()].flip(-1)
