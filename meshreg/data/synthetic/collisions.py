"""Does a pose push a body's parts into each other? A cheap answer from capsules on the joints."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meshreg.body.skeleton import SKELETONS
from meshreg.data.synthetic.turns import rotvec_to_rotmat

SMPL = SKELETONS["smpl24"]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Capsule:
    """All points within a radius of a segment that moves with a joint; the average body, metres."""

    name: str
    joint: str
    start: Point  # from the joint, in the T-pose
    end: Point
    radius: float


# Fitted by eye and percentiles to the built-in body; a little thinner than it, since flesh gives.
_TRUNK = (
    Capsule("hips", "pelvis", (-0.07, -0.02, 0.0), (0.07, -0.02, 0.0), 0.105),
    Capsule("belly", "spine1", (-0.05, 0.02, 0.045), (0.05, 0.02, 0.045), 0.105),
    Capsule("waist", "spine2", (-0.05, 0.0, 0.055), (0.05, 0.0, 0.055), 0.105),
    Capsule("chest", "spine3", (-0.07, 0.05, 0.055), (0.07, 0.05, 0.055), 0.105),
    Capsule("head", "head", (0.0, 0.03, 0.02), (0.0, 0.09, 0.02), 0.088),
)
_LEFT = (
    # Thigh and upper arm are without the end that always touches the trunk; the seat has that of
    # the thigh, for hands to meet.
    Capsule("left_arm", "left_shoulder", (0.13, -0.005, -0.01), (0.258, -0.013, -0.026), 0.04),
    Capsule("left_forearm", "left_elbow", (0.0, 0.0, 0.0), (0.237, 0.007, -0.001), 0.034),
    Capsule("left_hand", "left_wrist", (0.02, 0.0, 0.0), (0.14, -0.01, -0.015), 0.028),
    Capsule("left_seat", "left_hip", (0.005, 0.01, 0.0), (0.016, -0.17, 0.0), 0.095),
    Capsule("left_thigh", "left_hip", (0.016, -0.17, -0.002), (0.035, -0.381, -0.004), 0.068),
    Capsule("left_shin", "left_knee", (0.0, -0.03, -0.01), (-0.016, -0.436, -0.048), 0.045),
    Capsule("left_foot", "left_ankle", (0.0, -0.035, -0.02), (0.003, -0.05, 0.16), 0.035),
)


def _mirrored(capsule: Capsule) -> Capsule:
    def flip(point: Point) -> Point:
        return (-point[0], point[1], point[2])

    name, joint = (text.replace("left_", "right_") for text in (capsule.name, capsule.joint))
    return Capsule(name, joint, flip(capsule.start), flip(capsule.end), capsule.radius)


CAPSULES = (*_TRUNK, *_LEFT, *map(_mirrored, _LEFT))
# Which left part is tested against what else; each pair stands for its mirror image, too.
_TESTS = {
    "left_arm": "belly waist right_forearm right_hand",
    "left_forearm": "hips belly waist chest head left_seat left_thigh left_shin"
    " right_forearm right_hand",
    "left_hand": "hips belly waist chest head left_seat right_seat left_thigh right_thigh"
    " left_shin right_shin right_hand right_arm left_foot right_foot",
    "left_thigh": "right_thigh right_shin right_foot belly waist chest",
    "left_shin": "right_shin right_foot hips belly chest",
    "left_foot": "right_foot hips",
}


def _tested_pairs() -> tuple[list[int], list[int]]:
    names = [capsule.name for capsule in CAPSULES]
    pairs = set()
    for one, others in _TESTS.items():
        for other in others.split():
            for pair in ((one, other), (_other_side(one), _other_side(other))):
                i, k = (names.index(name) for name in pair)
                pairs.add((min(i, k), max(i, k)))
    first, second = zip(*sorted(pairs), strict=True)
    return list(first), list(second)


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


_PAIRS = _tested_pairs()
_RADII = np.array([capsule.radius for capsule in CAPSULES])
_JOINT = SMPL.index(*(capsule.joint for capsule in CAPSULES))
_STARTS = np.array([capsule.start for capsule in CAPSULES])
_ENDS = np.array([capsule.end for capsule in CAPSULES])


def penetration(
    body_pose: Float[np.ndarray, "23 3"], rest_joints: Float[np.ndarray, "24 3"]
) -> float:
    """How deep the two capsules that collide most are in each other, metres; 0 if none do."""
    rotmat, position = posed_joints(body_pose, rest_joints)
    start = position[_JOINT] + (rotmat[_JOINT] @ _STARTS[..., None])[..., 0]
    end = position[_JOINT] + (rotmat[_JOINT] @ _ENDS[..., None])[..., 0]
    one, other = _PAIRS
    distance = segment_distance(start[one], end[one], start[other], end[other])
    return max(0.0, float((_RADII[one] + _RADII[other] - distance).max()))


def posed_joints(
    body_pose: Float[np.ndarray, "23 3"], rest_joints: Float[np.ndarray, "24 3"]
) -> tuple[Float[np.ndarray, "24 3 3"], Float[np.ndarray, "24 3"]]:
    """World rotations and positions of the joints of a body whose pelvis is not turned."""
    local = rotvec_to_rotmat(body_pose)
    rotmat, position = np.empty((24, 3, 3)), rest_joints.copy()
    rotmat[0] = np.eye(3)
    for joint, parent in enumerate(SMPL.parents[1:], start=1):
        rotmat[joint] = rotmat[parent] @ local[joint - 1]
        position[joint] = position[parent] + rotmat[parent] @ (
            rest_joints[joint] - rest_joints[parent]
        )
    return rotmat, position


def segment_distance(
    a: Float[np.ndarray, "N 3"],
    b: Float[np.ndarray, "N 3"],
    c: Float[np.ndarray, "N 3"],
    d: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, " N"]:
    """Shortest distances between the segments a-b and c-d, none of them a point."""
    u, v, w = b - a, d - c, a - c
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    across = uu * vv - uv * uv
    # Closest points of the lines, first one cut to its segment, then the other, then the first.
    s = np.clip((uv * vw - vv * uw) / np.maximum(across, 1e-12), 0, 1)
    t = np.clip((uv * s + vw) / vv, 0, 1)
    s = np.clip((uv * t - uw) / uu, 0, 1)
    gap = w + s[:, None] * u - t[:, None] * v
    return np.sqrt((gap * gap).sum(-1))
