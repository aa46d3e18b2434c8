"""Where a lifted person is: ways to estimate the root joint's place without being told.

Every rule takes what a clip shows and what the lifter first said of it; functions of rules combine
them, such as `steady(likely)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import Body
from meshreg.geometry.place_points import NEAREST, translation_from_pixels

DETECTION_ERROR = 0.02  # metres at the person: how far off a detector's joints usually are
ANKLE_HEIGHT = 0.08  # metres above the floor of a foot that stands on it
_STEEPNESS = 0.05  # sine of the angle between ray and floor below which they hardly meet
_LEVEL = 1.0  # how strongly, in square metres of each frame, people are taken to stand upright
_REWEIGHTINGS = 3
_FAR = 3.0  # standard deviations: detections so far off count half
_REACH = 3.0  # standard deviations at which the window over time ends


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


RootRule = Callable[[Sighting], Tensor]  # (F, 3) metres, camera frame


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


def likely(sighting: Sighting) -> Float[Tensor, "F 3"]:
    """As `solved`, but every equation weighs as much as its expected error allows.

    That is the detector's together with the lifter's own, which the root joint does not have: poses
    are measured from it. Detections much farther off than that count less and less.
    """
    variance = DETECTION_ERROR**2 + torch.exp(2 * sighting.log_scale)
    weight = sighting.confidence / variance
    identity = torch.eye(3).to(weight)

    def place(weight: Float[Tensor, "F J"]) -> Float[Tensor, "F 3"]:
        share = weight / weight.amax(1, keepdim=True).clamp_min(1e-9)
        return translation_from_pixels(sighting.joints, sighting.directions, identity, share)

    root = place(weight)
    for _ in range(_REWEIGHTINGS):
        placed = sighting.joints + root[:, None]
        seen = placed[..., :2] / placed[..., 2:].clamp_min(NEAREST)
        away = (seen - sighting.directions) * root[:, None, 2:]  # metres at the person
        surprise = away.square().sum(-1) / variance
        root = place(weight / (1 + surprise / _FAR**2))
    return root


def of_build(lengths: Float[Tensor, " K"] | None = None) -> RootRule:
    """As `likely`, for bones of these lengths instead of the lifter's; one for each bone in order.

    Without lengths, they are the medians over the clip, for people do not grow between frames.
    """

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        own = bone_lengths(sighting.joints, sighting.skeleton)
        wanted = own.median(0).values if lengths is None else lengths.to(own)
        return likely(replace(sighting, joints=rebuilt(sighting, wanted)))

    return rule


def steady(rule: RootRule, seconds: float = 0.1, *, depth_seconds: float = 0.3) -> RootRule:
    """Another rule's places evened out over time: direction and depth apart.

    Around every frame a parabola is laid through its neighbours, so that walking, turning and
    jumping stay as they are and trembling does not.
    """

    def rule_over_time(sighting: Sighting) -> Float[Tensor, "F 3"]:
        root = rule(sighting)
        depth = root[:, 2:].clamp_min(NEAREST)
        direction = parabolas(root[:, :2] / depth, seconds * sighting.fps)
        far = parabolas(depth.log(), depth_seconds * sighting.fps)
        return _along(direction, far[:, 0].exp())

    return rule_over_time


def scaled_like(rule: RootRule, other: RootRule) -> RootRule:
    """A rule whose depths are all multiplied by one number, to agree with another's over the clip.

    A person does not grow within a clip, so what another source knows of a frame, however roughly,
    says how large the person is in all of them.
    """

    def rescaled(sighting: Sighting) -> Float[Tensor, "F 3"]:
        root = rule(sighting)
        ratio = other(sighting)[:, 2].clamp_min(NEAREST) / root[:, 2].clamp_min(NEAREST)
        return root * ratio.log().median().exp()

    return rescaled


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
    """As far away as the lower foot is, which stands on a floor; direction as `likely`.

    Without a floor, it is estimated by `floor_of` from all of the clip.
    """

    def rule(sighting: Sighting) -> Float[Tensor, "F 3"]:
        root = likely(sighting)
        plane = floor_of(sighting) if floor is None else floor
        down = plane.down.to(root)
        foot, place = _lower_ankle(sighting, down)
        rows = torch.arange(len(root))
        steepness = _along(sighting.directions[rows, place], torch.ones_like(root[:, 2])) @ down
        depth = (plane.height - ANKLE_HEIGHT) / steepness.clamp_min(_STEEPNESS) - foot[:, 2]
        meets = (steepness > _STEEPNESS) & (depth > NEAREST)
        depth = torch.where(meets, depth, root[:, 2])
        return _along(root[:, :2] / root[:, 2:].clamp_min(NEAREST), depth)

    return rule


def floor_of(sighting: Sighting) -> Floor:
    """The plane below the lower foot in all frames of a clip; people stand upright on average.

    It lies in the world that the first answer makes, so it knows no more than that about how far
    away all of that is.
    """
    root = likely(sighting)
    ankles = sighting.joints[:, sighting.skeleton.index("left_ankle", "right_ankle")].mean(1)
    thorax = sighting.joints[:, sighting.skeleton.index("thorax")[0]]
    upright = (ankles - thorax).mean(0)
    upright = upright / upright.norm()
    foot, _ = _lower_ankle(sighting, upright)
    feet = (foot + root).double()
    down = upright.double()
    away = feet - feet.mean(0)
    flat = away - (away @ down)[:, None] * down  # along the floor, were it as the people stand
    normal = flat.T @ flat + _LEVEL * len(feet) * torch.eye(3).to(flat)
    slope = torch.linalg.solve(normal, flat.T @ (away @ down))
    down = down - slope
    down = down / down.norm()
    # Feet that are in the air are above it: the floor is where the lower ones are.
    return Floor(down.float(), float((feet @ down).quantile(0.75)) + ANKLE_HEIGHT)


def parabolas(track: Float[Tensor, "F D"], sigma: float) -> Float[Tensor, "F D"]:
    """A track evened out by a parabola through the neighbours of each frame, `sigma` frames wide.

    Frames beyond the ends of the track do not count; where too few are left, it stays as it is.
    """
    reach = min(int(_REACH * sigma + 0.5), len(track) - 1)
    if reach < 2:
        return track
    steps = torch.arange(-reach, reach + 1)
    places = torch.arange(len(track))[:, None] + steps
    inside = (places >= 0) & (places < len(track))
    time = steps.to(track) / reach
    weight = torch.exp(-0.5 * (steps.to(track) / sigma).square()) * inside
    powers = torch.stack([torch.ones_like(time), time, time.square()], 1)  # (W, 3)
    near = track[places.clamp(0, len(track) - 1)]
    normal = torch.einsum("fw,wa,wb->fab", weight, powers, powers)
    moment = torch.einsum("fw,wa,fwd->fad", weight, powers, near)
    tiny = 1e-6 * torch.eye(3).to(track)
    return torch.linalg.solve(normal + tiny, moment)[:, 0]


def template_lengths(body: Body, skeleton: Skeleton) -> Float[Tensor, " K"]:
    """The bones of the average body, in the order of the skeleton's bones, metres."""
    regressor = JointRegressor.from_body(body.data, skeleton.name)
    betas = torch.zeros(1, body.num_betas)
    part = body.restricted_to(regressor.vertex_indices)
    with torch.no_grad():
        vertices, _ = part.skin(betas, torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 3))
        return bone_lengths(regressor.from_used_vertices(vertices), skeleton)[0]


def bone_lengths(joints: Float[Tensor, "F J 3"], skeleton: Skeleton) -> Float[Tensor, "F K"]:
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


def _along(direction: Float[Tensor, "F 2"], depth: Float[Tensor, " F"]) -> Float[Tensor, "F 3"]:
    return torch.cat([direction, torch.ones_like(direction[:, :1])], 1) * depth[:, None]
