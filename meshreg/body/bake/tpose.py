"""Turns MakeHuman's A-pose into SMPL's T-pose, each shape by its own bone directions."""

from dataclasses import dataclass

import numpy as np

from meshreg.body.bake.makehuman import MakeHuman
from meshreg.body.bake.rig import JOINT, SIDES
from meshreg.body.bake.rotations import (
    normalised,
    rotvec_to_rotmat,
    shortest_turn,
    turn_between,
    twist_about,
)

CLAVICLE_RAISE = np.deg2rad(9.0)
# Where the bones of the left side point in SMPL's rest pose, to within a few degrees.
DIRECTIONS = {
    name: normalised(np.array(direction))
    for name, direction in {
        "upper_arm": (1.0, -0.05, -0.10),
        "forearm": (1.0, 0.03, -0.005),
        "hand": (1.0, -0.02, -0.03),
        "thigh": (0.09, -1.0, -0.012),
        "shin": (-0.035, -1.0, -0.11),
    }.items()
}
# Segments that turn as one, by the start of their bones' names. The forearm has two for its twist.
SEGMENT_STARTS = {
    "clavicle": "clavicle",
    "shoulder01": "clavicle",
    "upperarm": "upper_arm",
    "lowerarm01": "forearm",
    "lowerarm02": "forearm_end",
    "wrist": "hand",
    "metacarpal": "hand",
    "finger": "hand",
    "upperleg": "thigh",
    "lowerleg": "shin",
    "foot": "foot",
    "toe": "foot",
}
TRUNK = "trunk"
SEGMENTS = (
    TRUNK,
    *(f"{s}_{part}" for s in SIDES for part in dict.fromkeys(SEGMENT_STARTS.values())),
)


@dataclass(frozen=True, eq=False)
class Turn:
    """A rotation about a point, which also moves that point: one per shape."""

    rotation: np.ndarray  # (B, 3, 3)
    start: np.ndarray  # (B, 3) the point before
    end: np.ndarray  # (B, 3) the point after

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.end + np.einsum("bij,bj->bi", self.rotation, points - self.start)


def arm_turns(
    human: MakeHuman, shapes: np.ndarray, joints: np.ndarray, side: str
) -> dict[str, Turn]:
    """How each segment of one arm moves: raised clavicle, straight arm, palm down."""
    sign = 1.0 if side == "left" else -1.0

    def cube(name: str) -> np.ndarray:
        return human.cube(shapes, f"{side[0]}-{name}")

    def to_all(vector: np.ndarray) -> np.ndarray:
        return np.broadcast_to(vector, (len(shapes), 3))

    def direction(name: str) -> np.ndarray:
        return to_all(DIRECTIONS[name] * [sign, 1, 1])

    shoulder, elbow, wrist = (
        joints[:, JOINT[f"{side}_{n}"]] for n in ("shoulder", "elbow", "wrist")
    )
    clavicle = cube("clavicle")
    lift = normalised(np.cross(shoulder - clavicle, to_all(np.array([0.0, 1.0, 0.0]))))
    raised = Turn(rotvec_to_rotmat(CLAVICLE_RAISE * lift), clavicle, clavicle)

    upper, fore = normalised(elbow - shoulder), normalised(wrist - elbow)
    # The slightly bent rest elbow shows its hinge; upright, it makes flexion carry hands forward.
    hinge = normalised(np.cross(upper, fore))
    upright = to_all(np.array([0.0, -sign, 0.0]))
    upper_rot = turn_between(upper, hinge, direction("upper_arm"), upright)
    fore_rot = turn_between(fore, hinge, direction("forearm"), upright)
    # Knuckles from the little finger to the index: forward when the palm faces down.
    knuckles = normalised(cube("finger-2-1") - cube("finger-5-1"))
    forward = to_all(np.array([0.0, 0.0, 1.0]))
    along = normalised(cube("finger-3-1") - wrist)
    hand_rot = turn_between(along, knuckles, direction("hand"), forward)
    # The far half of the forearm takes half of the twist between forearm and hand.
    twist = twist_about(hand_rot @ np.swapaxes(fore_rot, -1, -2), direction("forearm"))
    half_twist = rotvec_to_rotmat(0.5 * twist[:, None] * direction("forearm"))

    upper_turn = Turn(upper_rot, shoulder, raised(shoulder))
    fore_turn = Turn(fore_rot, elbow, upper_turn(elbow))
    return {
        "clavicle": raised,
        "upper_arm": upper_turn,
        "forearm": fore_turn,
        "forearm_end": Turn(half_twist @ fore_rot, elbow, fore_turn.end),
        "hand": Turn(hand_rot, wrist, fore_turn(wrist)),
    }


def leg_turns(joints: np.ndarray, side: str) -> dict[str, Turn]:
    """How each segment of one leg moves: legs slightly apart, feet as they were."""
    sign = 1.0 if side == "left" else -1.0
    hip, knee, ankle = (joints[:, JOINT[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))

    def swing(start: np.ndarray, end: np.ndarray, name: str) -> np.ndarray:
        target = np.broadcast_to(DIRECTIONS[name] * [sign, 1, 1], start.shape)
        return shortest_turn(normalised(end - start), target)

    thigh = Turn(swing(hip, knee, "thigh"), hip, hip)
    shin = Turn(swing(knee, ankle, "shin"), knee, thigh(knee))
    unturned = np.broadcast_to(np.eye(3), shin.rotation.shape)
    return {"thigh": thigh, "shin": shin, "foot": Turn(unturned, ankle, shin(ankle))}


class TPose:
    """Poses MakeHuman bodies by skinning with its own fine bones, pooled into 17 segments."""

    def __init__(self, human: MakeHuman) -> None:
        self.human = human
        weights = np.zeros((len(human.vertices), len(SEGMENTS)), np.float32)
        for bone, column in zip(human.bones, human.bone_weights.T, strict=True):
            weights[:, SEGMENTS.index(segment_of_bone(bone))] += column
        self.weights = weights

    def __call__(
        self, shapes: np.ndarray, joints: np.ndarray, vertices: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (all, or those asked for) and joints in the T-pose."""
        turns: dict[str, Turn] = {}
        for side in SIDES:
            parts = arm_turns(self.human, shapes, joints, side) | leg_turns(joints, side)
            turns |= {f"{side}_{part}": turn for part, turn in parts.items()}
        chosen = slice(None) if vertices is None else vertices
        motions = self._motions(turns, len(shapes))
        blended = self.weights[chosen] @ motions.reshape(len(shapes), len(SEGMENTS), 12)
        blended = blended.reshape(len(shapes), -1, 3, 4)
        points = shapes[:, chosen].astype(np.float32)
        posed = (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3]
        return posed, posed_joints(joints, turns)

    @staticmethod
    def _motions(turns: dict[str, Turn], count: int) -> np.ndarray:
        motions = np.tile(np.eye(3, 4, dtype=np.float32), (count, len(SEGMENTS), 1, 1))
        for name, turn in turns.items():
            column = SEGMENTS.index(name)
            motions[:, column, :, :3] = turn.rotation
            motions[:, column, :, 3] = turn(np.zeros((count, 3)))
        return motions


def segment_of_bone(bone: str) -> str:
    """The segment that a MakeHuman bone turns with."""
    side = "left" if bone.endswith(".L") else "right"
    for start, segment in SEGMENT_STARTS.items():
        if bone.startswith(start):
            return f"{side}_{segment}"
    return TRUNK


def posed_joints(joints: np.ndarray, turns: dict[str, Turn]) -> np.ndarray:
    """The joints after each has moved with the segment that ends in it."""
    carried_by = {
        "collar": "clavicle",
        "shoulder": "clavicle",
        "elbow": "upper_arm",
        "wrist": "forearm",
        "hand": "hand",
        "knee": "thigh",
        "ankle": "shin",
        "foot": "foot",
    }
    posed = joints.copy()
    for side in SIDES:
        for name, segment in carried_by.items():
            joint = JOINT[f"{side}_{name}"]
            posed[:, joint] = turns[f"{side}_{segment}"](joints[:, joint])
    return posed
