"""Where a lifted person is: ways to estimate the root joint's place without being told.

Every rule takes what a clip shows and what the lifter first said of it; rules are combined by
functions of rules, such as `steady(solved, 0.3)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import Body
from meshreg.geometry.place_points import NEAREST, smoothed, translation_from_pixels

ANKLE_HEIGHT = 0.08  # metres above the floor of a foot that stands on it
_STEEPNESS = 0.05  # sine of the angle between ray and floor below which they hardly meet
_LEVEL = 1.0  # how strongly, in square metres of each frame, floors are taken to be level


@dataclass(frozen=True, eq=False)
class Sighting:
    """A clip as it was seen, and the first answer to it."""

    joints: Float[Tensor, "F J 3"]  # metres from the root joint, camera axes
    log_scale: Float[Tensor, "F J"]  # their expected errors, logarithm of metres
    directions: Float[Tensor, "F J 2"]  # x/z and y/z at which the joints were detected
    confidence: Float[Tensor, "F J"]  # of the detections
    skeleton: Skeleton
    fps: float

    @property
    def trust(self) -> Float[Tensor, "F J"]:
        """How much each joint counts in telling where all of them are."""
        return self.confidence * torch.exp(-self.log_scale)


RootRule = Callable[[Sighting], Float[Tensor, "F 3"]]


@dataclass(frozen=True, eq=False)
class Floor:
    """A plane in the camera's frame."""

    down: Float[Tensor, " 3"]  # of length one
    height: float  # of the camera above it, metres


def solved(sighting: Sighting) -> Float[Tensor, "F 3"]:
    """The place from which the joints project nearest to their detections, by least squares."""
    identity = torch.eye(3).to(sighting.joints)
    return translation_from_pixels(
        sighting.joints, sighting.directions, identity, sighting.trust.clamp_min(1e-6)
    )


def of_build(lengths: Float[Tensor, " K"] | None = None) -> RootRule:
    """As `solved`, for bones of these lengths instead of the lifter's; one for each bone in order.

    Without lengths, they are the medians over the clip, for people do not grow between frames.
    """

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        own = bone_lengths(sighting.joints, sighting.skeleton)
        wanted = own.median(0).values if lengths is None else lengths.to(own)
        return solved(replace(sighting, joints=rebuilt(sighting, wanted)))

    return rule


def steady(rule: RootRule, seconds: float) -> RootRule:
    """Another rule's places averaged over time: direction and depth apart, both change slowly."""

    def rule_over_time(sighting: Sighting) -> Float[Tensor, "F 3"]:
        root = rule(sighting)
        depth = root[:, 2:].clamp_min(NEAREST)
        track = torch.cat([root[:, :2] / depth, depth.log()], 1)
        track = smoothed(track, seconds * sighting.fps)
        return torch.cat([track[:, :2], torch.ones_like(depth)], 1) * track[:, 2:].exp()

    return rule_over_time


def seen_root(depth_from: RootRule) -> RootRule:
    """Where the root joint was detected, as far away as another rule says."""

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        place = sighting.skeleton.parents.index(-1)
        return _along(sighting.directions[:, place], depth_from(sighting)[:, 2])

    return rule


def direction_and_depth(direction: RootRule, depth: RootRule) -> RootRule:
    """Where one rule says, as far away as the other says."""

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        where = direction(sighting)
        return _along(where[:, :2] / where[:, 2:].clamp_min(NEAREST), depth(sighting)[:, 2])

    return rule


def given(root: Float[Tensor, "F 3"]) -> RootRule:
    """Places that something else told, such as the camera that a mesh was fitted with."""
    return lambda sighting: root.to(sighting.joints)


def on_floor(floor: Floor | None = None) -> RootRule:
    """As far away as the lower foot is, which stands on a floor; direction as `solved`.

    Without a floor, it is estimated by `floor_of` from all of the clip.
    """

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        root = solved(sighting)
        plane = floor_of(sighting) if floor is None else floor
        down = plane.down.to(root)
        foot, place = _lower_ankle(sighting, down)
        rows = torch.arange(len(root))
        ray = torch.cat([sighting.directions, torch.ones_like(root[:, None, :1].expand_as(
            sighting.directions[..., :1]))], -1)[rows, place]
        steepness = ray @ down
        depth = (plane.height - ANKLE_HEIGHT) / steepness.clamp_min(_STEEPNESS) - foot[:, 2]
        meets = (steepness > _STEEPNESS) & (depth > NEAREST)
        depth = torch.where(meets, depth, root[:, 2])
        return _along(root[:, :2] / root[:, 2:].clamp_min(NEAREST), depth)

    return rule


def floor_of(sighting: Sighting) -> Floor:
    """The plane below the lower foot of all frames of a clip, taken to be nearly level."""
    root = solved(sighting)
    level = torch.tensor([0.0, 1.0, 0.0]).to(root)
    foot, _ = _lower_ankle(sighting, level)
    feet = (foot + root).double()
    # y = height + slope . (x, z), where slopes cost as much as feet that are off
    middle = feet.mean(0)
    away = feet - middle
    flat = away[:, [0, 2]]
    normal = flat.T @ flat + _LEVEL * len(feet) * torch.eye(2).to(flat)
    slope = torch.linalg.solve(normal, flat.T @ away[:, 1])
    down = torch.stack([-slope[0], torch.ones_like(slope[0]), -slope[1]])
    down = down / down.norm()
    # Feet that are in the air are above it: the floor is where most of the lower half are.
    heights = feet @ down
    return Floor(down.float(), float(heights.quantile(0.75)) + ANKLE_HEIGHT)


def template_lengths(body: Body, skeleton: Skeleton) -> Float[Tensor, " K"]:
    """The bones of the average body, in the order of the skeleton's bones, metres."""
    regressor = JointRegressor.from_body(body.data, skeleton.name)
    betas = torch.zeros(1, body.num_betas)
    part = body.restricted_to(regressor.vertex_indices)
    with torch.no_grad():
        vertices, _ = part.skin(betas, torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 3))
        return bone_lengths(regressor.from_used_vertices(vertices), skeleton)[0]


def bone_lengths(
    joints: Float[Tensor, "F J 3"], skeleton: Skeleton
) -> Float[Tensor, "F K"]:
    """Of every bone in every frame."""
    children, parents = (list(side) for side in zip(*skeleton.bones, strict=True))
    return (joints[:, children] - joints[:, parents]).norm(dim=-1)


def rebuilt(sighting: Sighting, lengths: Float[Tensor, " K"]) -> Float[Tensor, "F J 3"]:
    """The first answer with bones of other lengths, which point where they pointed."""
    joints, tree = sighting.joints, sighting.skeleton
    placed = {tree.parents.index(-1): torch.zeros_like(joints[:, 0])}
    left = list(zip(tree.bones, lengths, strict=True))
    while left:
        for bone in list(left):
            (child, parent), length = bone
            if parent in placed:
                ray = joints[:, child] - joints[:, parent]
                ray = ray / ray.norm(dim=-1, keepdim=True).clamp_min(1e-6)
                placed[child] = placed[parent] + length * ray
                left.remove(bone)
    return torch.stack([placed[place] for place in range(len(tree))], 1)


def _lower_ankle(
    sighting: Sighting, down: Float[Tensor, " 3"]
) -> tuple[Float[Tensor, "F 3"], Tensor]:
    """The ankle that is farther down, from the root, and which joint it is."""
    ankles = torch.tensor(sighting.skeleton.index("left_ankle", "right_ankle"))
    lower = (sighting.joints[:, ankles] @ down).argmax(1)
    place = ankles[lower]
    return sighting.joints[torch.arange(len(place)), place], place


def _along(
    direction: Float[Tensor, "F 2"], depth: Float[Tensor, " F"]
) -> Float[Tensor, "F 3"]:
    return torch.cat([direction, torch.ones_like(direction[:, :1])], 1) * depth[:, None]
