"""Random poses over the range of human joints, for fitting whatever depends on the pose."""

import numpy as np

from meshreg.body.bake.rig import JOINT, MIRRORED_JOINT, NAMES
from meshreg.body.bake.rotations import rotvec_to_rotmat

# Mean and standard deviation of each rotation vector in degrees; right joints mirror the left ones.
RANGES = {
    "left_hip": ((-35, 0, 6), (38, 22, 18)),
    "left_knee": ((50, 0, 0), (42, 6, 4)),
    "left_ankle": ((0, 0, 0), (18, 10, 10)),
    "left_foot": ((0, 0, 0), (10, 3, 3)),
    "spine1": ((8, 0, 0), (14, 9, 9)),
    "spine2": ((5, 0, 0), (9, 8, 7)),
    "spine3": ((0, 0, 0), (6, 7, 5)),
    "neck": ((0, 0, 0), (14, 18, 12)),
    "head": ((0, 0, 0), (14, 18, 10)),
    "left_collar": ((0, 0, 0), (6, 10, 10)),
    "left_shoulder": ((0, -12, -18), (30, 35, 48)),
    "left_elbow": ((0, -55, 0), (30, 42, 12)),
    "left_wrist": ((0, 0, 0), (25, 14, 25)),
    "left_hand": ((0, 0, -8), (6, 6, 18)),
}
LARGEST_ANGLE = 150.0  # degrees, per component
ACTIVE_SHARE = 0.18  # of the joints in a sparse pose
MIRRORED_ROTVEC = np.array([1, -1, -1])  # mirroring in x flips the turns about y and z


def sample_poses(count: int, rng: np.random.Generator, *, sparse: float = 0.5) -> np.ndarray:
    """Rotation matrices (N, 24, 3, 3), no global turn; a share of them moves few joints."""
    degrees = np.zeros((count, len(NAMES), 3))
    for name, (mean, spread) in RANGES.items():
        joint = JOINT[name]
        degrees[:, joint] = rng.normal(mean, spread, (count, 3))
        if MIRRORED_JOINT[joint] != joint:
            other = rng.normal(mean, spread, (count, 3))
            degrees[:, MIRRORED_JOINT[joint]] = other * MIRRORED_ROTVEC
    num_sparse = int(count * sparse)
    still = rng.random((num_sparse, len(NAMES))) >= ACTIVE_SHARE
    degrees[:num_sparse][still] = 0
    return rotvec_to_rotmat(np.deg2rad(degrees.clip(-LARGEST_ANGLE, LARGEST_ANGLE)))
