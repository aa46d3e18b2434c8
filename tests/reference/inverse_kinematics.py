"""PersPose's inverse kinematics for one body, one joint after the other, in plain numpy."""

import numpy as np
from scipy.spatial.transform import Rotation

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
CHILD = dict(
    [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8), (6, 9), (7, 10), (8, 11), (12, 15), (13, 16)]
    + [(14, 17), (16, 18), (17, 19), (18, 20), (19, 21), (20, 22), (21, 23)]
)
LEAVES = [22, 23, 10, 11, 15]


def direction(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def middle_angle(first: float, second: float) -> float:
    """Half way from one angle to the other, the short way round."""
    gap = (second - first + np.pi) % (2 * np.pi) - np.pi
    return (first + gap / 2 + np.pi) % (2 * np.pi) - np.pi


def pelvis_rotation(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Normals first, by the shortest arc; then the mean angle of the corners about the normal."""
    rest, seen = rest - rest.mean(0), seen - seen.mean(0)
    rest_normal, normal = (direction(np.cross(t[1] - t[0], t[2] - t[0])) for t in (rest, seen))
    axis = np.cross(rest_normal, normal)
    arc = np.arctan2(np.linalg.norm(axis), rest_normal @ normal)
    first = Rotation.from_rotvec(direction(axis) * arc)
    angles = []
    for corner, goal in zip(first.apply(rest), seen, strict=True):
        angles.append(np.arctan2(np.cross(corner, goal) @ normal, corner @ goal))
    angle = middle_angle(middle_angle(angles[0], angles[1]), angles[2])
    return (Rotation.from_rotvec(normal * angle) * first).as_matrix()


def place(
    rest: np.ndarray,  # (24, 3)
    seen: np.ndarray,  # (24, 3)
    *,
    max_drift: float | None = 0.015,
    keep_xy: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Placed joints, and the rotations of root and chest."""
    root = pelvis_rotation(rest[1:4], seen[1:4])
    placed = np.zeros((24, 3))
    for joint in range(4):
        placed[joint] = seen[1:4].mean(0) + root @ (rest[joint] - rest[1:4].mean(0))
    chest = np.eye(3)
    for joint in range(4, 24):
        parent = PARENTS[joint]
        if joint == 12:
            bones = rest[12:15] - rest[9]
            chest = Rotation.align_vectors(seen[12:15] - placed[9], bones)[0].as_matrix()
        if parent == 9:
            placed[joint] = placed[9] + chest @ (rest[joint] - rest[9])
            continue
        length = np.linalg.norm(rest[joint] - rest[parent])
        offset = seen[joint] - placed[parent]
        placed[joint] = placed[parent] + length * direction(offset)
        if max_drift is not None:
            own = placed[parent] + length * direction(seen[joint] - seen[parent])
            if np.linalg.norm(own - placed[joint]) >= max_drift:
                placed[joint] = own
        if keep_xy and (squared := length**2 - offset[0] ** 2 - offset[1] ** 2) > 0:
            placed[joint] = placed[parent] + [*offset[:2], np.sign(offset[2]) * squared**0.5]
    return placed, root, chest


def twist_at_rest(bone: np.ndarray) -> np.ndarray:
    backward = np.array([0.0, 0.0, -1.0])
    return direction(backward - (backward @ bone) / (bone @ bone) * bone)


def frame(bone: np.ndarray, twist: np.ndarray) -> np.ndarray:
    along = direction(bone)
    across = direction(twist - (twist @ along) * along)
    return np.column_stack([along, across, np.cross(along, across)])


def solve(
    rest: np.ndarray, seen: np.ndarray, twists: np.ndarray, leaves: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local rotations (24, 3, 3), translation, and placed joints."""
    placed, root, chest = place(rest, seen)
    world: list[np.ndarray] = []
    for joint in range(24):
        if joint in (0, 9):
            world.append(root if joint == 0 else chest)
        elif joint in LEAVES:
            world.append(world[PARENTS[joint]] @ leaves[LEAVES.index(joint)])
        else:
            end = CHILD[joint]
            bone = rest[end] - rest[joint]
            posed = frame(placed[end] - placed[joint], twists[end])
            world.append(posed @ frame(bone, twist_at_rest(bone)).T)
    local = [world[0]] + [world[PARENTS[j]].T @ world[j] for j in range(1, 24)]
    return np.stack(local), placed[0] - rest[0], placed


def first_beta(
    template: np.ndarray, shapedirs: np.ndarray, seen: np.ndarray, betas: np.ndarray
) -> float:
    """The candidate from -2 to 1.9 whose skeleton fits the picture plane best."""
    errors = []
    for step in range(-20, 20):
        rest = template + shapedirs @ np.array([step / 10, *betas[1:]])
        offset = place(rest, seen, max_drift=None, keep_xy=True)[0] - seen
        errors.append(np.hypot(offset[:, 0], offset[:, 1]).mean())
    return (int(np.argmin(errors)) - 20) / 10
