"""What training consumes: a picture of one subject with everything that is known about it.

`Sample` is one picture; `Batch` is the same class with one more leading dimension in every field.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body
from meshreg.geometry.cameras import project

HIDDEN_LABEL = 255  # in `labels`: nobody knows what is there
NO_PART = 255
OCCLUDER = 255  # in `instance`: a thing, not a person
KEYPOINTS = SKELETONS["spin49"]  # the joint set of `keypoints_px` and `keypoints_cam`


def _left_out() -> Tensor:
    """Stands for a field that was not given, until `Sample.__post_init__` fills it in."""
    return torch.zeros(0)


@dataclass(frozen=True, eq=False)
class Sample:
    """A square picture cut out of a full one, its subject's body, and maps of what is where.

    The camera frame is the full picture's: cutting a picture out changes K, not the frame. What
    is not known has weight zero (visibility, label 255), never a missing field.
    """

    image: UInt8[Tensor, "*batch 3 H W"]  # RGB
    K: Float[Tensor, "*batch 3 3"]  # of `image`, pixels
    K_full: Float[Tensor, "*batch 3 3"]  # of the full picture, pixels
    full_size: Int[Tensor, "*batch 2"]  # height and width of the full picture, pixels
    box: Float[Tensor, "*batch 3"]  # centre x, centre y and side in full-picture pixels
    betas: Float[Tensor, "*batch S"]
    pose_rotmat: Float[Tensor, "*batch 24 3 3"]  # the root's is in the camera frame
    transl: Float[Tensor, "*batch 3"]  # metres
    joints_cam: Float[Tensor, "*batch 45 3"]  # metres
    joints_px: Float[Tensor, "*batch 45 2"]  # pixels of `image`; anything behind the camera
    # In the picture, and no other person or thing in front. The subject's own body may be.
    joints_visible: Bool[Tensor, "*batch 45"]
    joints_self_hidden: Bool[Tensor, "*batch 45"]  # deep behind the subject's own surface
    # The bare body; no rows (V = 0) until `with_vertices` fills them in from betas and pose.
    vertices_cam: Float[Tensor, "*batch V 3"]
    # CIHP ids of the subject; 255 where something hides it and beyond the full picture's border,
    # where nobody knows; 0 elsewhere
    labels: UInt8[Tensor, "*batch H W"]
    depth: Float[Tensor, "*batch H W"]  # of the nearest person, metres; 0 where none is seen
    part: UInt8[Tensor, "*batch H W"]  # SMPL joint that moves the subject there; 255 elsewhere
    # 0 background, 1 subject, 2... other people, 255 a thing in front
    instance: UInt8[Tensor, "*batch H W"]
    index: Int[Tensor, "*batch"]  # number of the sample within its seed

    # 0: K and K_full are a guess. If left out: 1
    K_weight: Float[Tensor, "*batch"] = field(default_factory=_left_out)
    # How much is known of the body. If left out: 1, everything, as for synthetic people.
    betas_weight: Float[Tensor, "*batch"] = field(default_factory=_left_out)
    pose_weight: Float[Tensor, "*batch 24"] = field(default_factory=_left_out)
    # 0: only the differences between `joints_cam` (or `keypoints_cam`) mean something
    transl_weight: Float[Tensor, "*batch"] = field(default_factory=_left_out)
    joints_weight: Float[Tensor, "*batch 45"] = field(default_factory=_left_out)  # of joints_cam

    # What people or motion capture say of joints, which need not be where a body has them. If left
    # out: 0, nothing.
    keypoints_px: Float[Tensor, "*batch 49 2"] = field(default_factory=_left_out)  # of `image`
    keypoints_weight: Float[Tensor, "*batch 49"] = field(default_factory=_left_out)
    keypoints_cam: Float[Tensor, "*batch 49 3"] = field(default_factory=_left_out)  # metres
    keypoints_cam_weight: Float[Tensor, "*batch 49"] = field(default_factory=_left_out)

    def __post_init__(self) -> None:
        batch, like = self.index.shape, self.K
        for name, shape, value in _DEFAULTS:
            if getattr(self, name).numel() == 0:
                object.__setattr__(self, name, like.new_full((*batch, *shape), value))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Sample":
        """The same sample with its tensors on `device`."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in _items(self)}
        return replace(self, **moved)

    def __len__(self) -> int:
        """The number of samples in a batch."""
        assert self.index.ndim == 1, "a single sample has no length"
        return len(self.index)

    def __getitem__(self, place: int) -> "Sample":
        """One sample of a batch."""
        return Sample(**{name: value[place] for name, value in _items(self)})


Batch: TypeAlias = Sample
# Of the fields that may be left out: name, shape behind the batch's, value.
_DEFAULTS: tuple[tuple[str, tuple[int, ...], float], ...] = (
    ("K_weight", (), 1.0),
    ("betas_weight", (), 1.0),
    ("pose_weight", (24,), 1.0),
    ("transl_weight", (), 1.0),
    ("joints_weight", (45,), 1.0),
    ("keypoints_px", (49, 2), 0.0),
    ("keypoints_weight", (49,), 0.0),
    ("keypoints_cam", (49, 3), 0.0),
    ("keypoints_cam_weight", (49,), 0.0),
)


def _items(sample: Sample) -> list[tuple[str, Tensor]]:
    return [(field.name, getattr(sample, field.name)) for field in fields(sample)]


def stack(samples: Sequence[Sample]) -> Batch:
    """A batch of samples of equal size; the `collate_fn` of data loaders."""
    columns = zip(*(_items(sample) for sample in samples), strict=True)
    return Sample(**{column[0][0]: torch.stack([v for _, v in column]) for column in columns})


def with_vertices(batch: Batch, body: Body) -> Batch:
    """The batch with the bare bodies' vertices, on the batch's device (the body's as well)."""
    posed = body(batch.betas, batch.pose_rotmat, batch.transl)
    return replace(batch, vertices_cam=posed.vertices)


def inside_picture(
    full_size: Int[Tensor, "B 2"], box: Float[Tensor, "B 3"], size: int
) -> Bool[Tensor, "B H W"]:
    """Which pixels of the square picture show something of the full one: boxes may reach over."""
    steps = (torch.arange(size, device=box.device, dtype=box.dtype) + 0.5) / size - 0.5
    x, y = (box[:, axis, None] + steps * box[:, 2:] for axis in (0, 1))
    height, width = full_size.to(box.dtype).unbind(1)
    column = (x > -0.5) & (x < width[:, None] - 0.5)
    row = (y > -0.5) & (y < height[:, None] - 0.5)
    return row[:, :, None] & column[:, None]


def joint_pixels(
    joints_cam: Float[Tensor, "B 45 3"], K: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B 45 2"]:
    """Where the joints appear, kept finite also for those beside the camera plane."""
    return project(joints_cam, K).clamp(-1e6, 1e6)
