"""Square pictures as a camera would have taken them that turned towards the person in them.

Each square is taken as a full picture of its own, so nothing but its K is needed to turn it; all
that is known about the person turns along, and the picture is resampled once.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.sample import HIDDEN_LABEL, NO_PART, Batch
from meshreg.geometry.perspective import pixel_rays
from meshreg.geometry.turned_crop import How, TurnedCrop, can_turn, crop_towards

_FAR = 1e6  # pixels: where points appear that no camera sees


def centred(
    batch: Batch,
    how: How,
    zoom: Float[Tensor, " B"] | None = None,
    shift: Float[Tensor, "B 2"] | None = None,
) -> Batch:
    """The batch seen by cameras that turned towards the middles of its pictures.

    The turn is towards a box `zoom` times as large as the picture and moved by `shift` of its
    sides. Cameras whose K is a guess, and those that could not see the whole box, do not turn, but
    the box is cut out all the same. Every picture is a full one afterwards: K_full is K, and the
    box is the whole picture. Add vertices afterwards, not before.
    """
    assert batch.vertices_cam.shape[1] == 0, "turn before adding vertices"
    size = batch.image.shape[-1]
    box = _boxes(batch, zoom, shift)
    turned = (batch.K_weight > 0) & can_turn(box, batch.K)
    crop = crop_towards(box, batch.K, size, how=how, turned=turned, fit="area")
    joints_px, keypoints_px = (
        crop.pixels(points).clamp(-_FAR, _FAR) for points in (batch.joints_px, batch.keypoints_px)
    )
    inside = ((joints_px > -0.5) & (joints_px < size - 0.5)).all(-1)
    pelvis_rest = batch.joints_cam[:, 0] - batch.transl
    whole = batch.box.new_tensor([(size - 1) / 2, (size - 1) / 2, size])
    return replace(
        batch,
        image=crop.pictures(batch.image),
        K=crop.K,
        K_full=crop.K,
        full_size=torch.full_like(batch.full_size, size),
        box=whole.expand(len(batch), 3),
        pose_rotmat=crop.pose(batch.pose_rotmat),
        transl=crop.transl(batch.transl, pelvis_rest),
        joints_cam=crop.points(batch.joints_cam),
        joints_px=joints_px,
        joints_visible=batch.joints_visible & inside,
        keypoints_px=keypoints_px,
        keypoints_cam=crop.points(batch.keypoints_cam),
        labels=crop.labels(batch.labels, HIDDEN_LABEL),
        depth=crop.labels(_depth(batch, crop), 0),
        part=crop.labels(batch.part, NO_PART),
        instance=crop.labels(batch.instance, 0),
    )


def _boxes(
    batch: Batch, zoom: Float[Tensor, " B"] | None, shift: Float[Tensor, "B 2"] | None
) -> Float[Tensor, "B 4"]:
    """Left, top, right, bottom of what is to be seen, pixels of the pictures."""
    size = batch.image.shape[-1]
    zoom = batch.K.new_ones(len(batch)) if zoom is None else zoom
    shift = batch.K.new_zeros(len(batch), 2) if shift is None else shift
    middle = (size - 1) / 2 + size * shift
    half = (zoom * size / 2)[:, None]
    return torch.cat([middle - half, middle + half], 1)


def _depth(batch: Batch, crop: TurnedCrop) -> Float[Tensor, "B H W"]:
    """How far along the new cameras' axes the seen points are, still at their old pixels."""
    steps = torch.arange(batch.depth.shape[-1], dtype=batch.K.dtype, device=batch.K.device)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)
    rays = crop.points(pixel_rays(grid.expand(len(batch), -1, 2), batch.K))
    return batch.depth * rays[..., 2].unflatten(1, batch.depth.shape[1:])
