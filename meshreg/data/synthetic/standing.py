"""People at rest, made by rule: stances, seats, and what idle arms do. Mocap has few of them."""

import numpy as np

from meshreg.body.skeleton import SKELETONS
from meshreg.data.synthetic.poses import PoseDraw, choice
from meshreg.data.synthetic.turns import rotvec_to_rotmat, without_heading

SMPL = SKELETONS["smpl24"]
Turn = tuple[float, float, float]
SITTING = 0.15  # share of people at rest who sit
# Rotation vectors of the left collar, shoulder, elbow and wrist, and how often the arm does this.
# Found by reaching with the built-in body for a point while keeping the pose prior's energy low.
ARMS: dict[str, tuple[float, tuple[Turn, Turn, Turn, Turn]]] = {
    "hanging": (5.0, ((0.0, 0.0, 0.0), (0.2, -0.25, -1.28), (-0.05, -0.4, 0.15), (0.0, 0.0, 0.1))),
    "swung back": (
        0.7,
        ((0.0, 0.0, 0.0), (0.35, 0.2, -1.15), (-0.05, -0.35, 0.1), (0.0, 0.0, 0.1)),
    ),
    "on the hip": (
        1.5,
        ((0.13, 0.06, -0.22), (1.22, -0.15, -0.54), (-0.08, -1.6, 0.16), (-0.2, -0.35, 0.43)),
    ),
    "in front": (
        1.0,
        ((-0.07, -0.13, 0.09), (0.59, -0.76, -1.24), (0.09, -0.84, 0.02), (0.02, -0.54, -0.19)),
    ),
    "behind": (
        0.5,
        ((0.12, -0.07, 0.14), (0.82, -0.61, -1.63), (-0.15, -0.31, -0.25), (-0.05, -0.53, -0.59)),
    ),
    "in the pocket": (
        1.5,
        ((0.1, -0.03, 0.14), (0.85, -0.57, -1.17), (0.01, -0.74, 0.26), (-0.08, -0.26, 0.1)),
    ),
    "with a phone": (
        0.8,
        ((-0.11, -0.2, -0.05), (0.82, -0.84, -0.62), (-0.26, -1.51, 1.03), (-0.16, -0.21, 0.25)),
    ),
    "at the ear": (
        0.4,
        ((-0.1, 0.43, 0.15), (0.21, -0.86, -0.09), (-0.23, -1.95, 1.33), (-0.3, -0.23, 0.6)),
    ),
    "waving": (
        0.4,
        ((-0.12, 0.52, 0.55), (-0.63, -0.48, -0.88), (-0.13, -1.45, 1.0), (0.03, 0.17, 0.21)),
    ),
    "on the belly": (
        0.5,
        ((0.08, -0.22, -0.07), (0.96, -0.83, -0.63), (-0.18, -1.62, 0.61), (-0.17, -0.26, -0.11)),
    ),
}
LAP: tuple[Turn, Turn, Turn, Turn] = (
    (-0.06, 0.07, 0.15),
    (0.53, -0.8, -1.36),
    (-0.05, -1.06, 0.27),
    (-0.14, -0.25, 0.24),
)
_ARM = ("collar", "shoulder", "elbow", "wrist")
_WEIGHTS = np.cumsum([weight for weight, _ in ARMS.values()])
_ALIKE = 0.55  # share of people whose arms do the same


def standing_pose(rng: np.random.Generator) -> PoseDraw:
    """Someone upright and at ease, or on a seat; nothing is mirrored yet."""
    pose = np.zeros((24, 3))
    if rng.random() < SITTING:
        lean = _sit(pose, rng)
    else:
        lean = _stand(pose, rng)
        _idle_arms(pose, rng)
    _hold_trunk(pose, rng)
    tilt = np.array([lean, 0.0, 0.0]) + 0.03 * rng.standard_normal(3)
    return PoseDraw(without_heading(rotvec_to_rotmat(tilt)), pose[1:])


def _turn_joint(pose: np.ndarray, joint: str, turn: Turn) -> None:
    pose[SMPL.joints.index(joint)] += turn


def _stand(pose: np.ndarray, rng: np.random.Generator) -> float:
    """Two legs, one of them perhaps eased; soles stay level."""
    width = rng.uniform(0.0, 0.12)
    eased = rng.uniform(0.1, 0.6) if rng.random() < 0.5 else 0.0
    shift = 0.15 * eased
    for side, sign, bend in (("left", 1.0, 0.0), ("right", -1.0, eased)):
        knee = bend + rng.uniform(0.02, 0.1)
        hip = -0.5 * knee + rng.uniform(-0.06, 0.06)
        outward, splay = rng.uniform(0.0, 0.3), width + rng.uniform(-0.02, 0.03)
        _turn_joint(pose, f"{side}_hip", (hip, sign * outward, sign * splay + shift))
        _turn_joint(pose, f"{side}_knee", (knee, 0.0, 0.0))
        _turn_joint(pose, f"{side}_ankle", (-hip - knee, 0.0, -sign * splay))
    _turn_joint(pose, "spine1", (0.0, 0.0, 0.6 * shift))
    return 0.0


def _sit(pose: np.ndarray, rng: np.random.Generator) -> float:
    """On a seat of about knee height, hands in the lap; returns how far the pelvis leans."""
    lean = rng.uniform(-0.35, 0.1)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        raised = rng.uniform(-0.15, 0.15)
        hip = -np.pi / 2 - lean + raised
        knee = np.pi / 2 - raised + rng.uniform(-0.35, 0.25)
        apart, outward = rng.uniform(0.0, 0.3), rng.uniform(-0.05, 0.15)
        # The thigh is level: apart is now a turn about the vertical.
        _turn_joint(pose, f"{side}_hip", (hip, sign * 0.6 * apart, sign * (0.5 * apart + outward)))
        _turn_joint(pose, f"{side}_knee", (knee, 0.0, 0.0))
        _turn_joint(pose, f"{side}_ankle", (-hip - knee - lean, 0.0, 0.0))
        _set_arm(pose, side, LAP, 0.12, rng)
    _turn_joint(pose, "spine2", (-0.4 * lean, 0.0, 0.0))
    return lean


def _idle_arms(pose: np.ndarray, rng: np.random.Generator) -> None:
    habits = [turns for _, turns in ARMS.values()]
    left = choice(_WEIGHTS, rng)
    other = choice(_WEIGHTS, rng)
    right = left if rng.random() < _ALIKE else other
    _set_arm(pose, "left", habits[left], 0.07, rng)
    _set_arm(pose, "right", habits[right], 0.07, rng)


def _set_arm(
    pose: np.ndarray,
    side: str,
    turns: tuple[Turn, Turn, Turn, Turn],
    spread: float,
    rng: np.random.Generator,
) -> None:
    signs = np.array([1.0, 1.0, 1.0] if side == "left" else [1.0, -1.0, -1.0])
    for part, turn in zip(_ARM, turns, strict=True):
        loose = spread * (0.4 if part == "collar" else 1.0)
        pose[SMPL.joints.index(f"{side}_{part}")] = signs * turn + loose * rng.standard_normal(3)


def _hold_trunk(pose: np.ndarray, rng: np.random.Generator) -> None:
    """A little bent and twisted; the head looks around."""
    for joint in ("spine1", "spine2", "spine3"):
        bend = 0.04 * rng.standard_normal(3)
        _turn_joint(pose, joint, (bend[0] + 0.02, bend[1], bend[2]))
    down, around = rng.uniform(-0.12, 0.4), 0.3 * rng.standard_normal()
    aside = 0.06 * rng.standard_normal()
    for joint, share in (("neck", 0.4), ("head", 0.6)):
        _turn_joint(pose, joint, (share * down, share * around, share * aside))
