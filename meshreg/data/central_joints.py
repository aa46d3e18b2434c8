"""Human3.6M's joints in the middle of the body, built from COCO's, which has none there.

Each is a sum of a nose and the middles of eyes, ears, shoulders and hips. Such sums hold in the
picture as they do in space, however the person stands, as long as perspective is weak. The weights
were fitted to a moving body by `benchmarks/central_joints.py`, for every part of a face that may be
all that is seen of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

RULES_FILE = Path(__file__).parent / "central_joints.json"
GROUPS = {
    "nose": ("nose",),
    "eyes": ("left_eye", "right_eye"),
    "ears": ("left_ear", "right_ear"),
    "shoulders": ("left_shoulder", "right_shoulder"),
    "hips": ("left_hip", "right_hip"),
}
_EITHER = ("eyes", "ears")  # of these the one that is seen may stand for both


@dataclass(frozen=True)
class Rule:
    """How to build the joints if this much of a face is seen, besides shoulders and hips."""

    seen: tuple[str, ...]  # groups
    weights: dict[str, dict[str, float]]  # joint -> group -> share; shares of a joint sum to one


@cache
def rules() -> tuple[Rule, ...]:
    """From those that need the most of a face to that which needs none."""
    entries = json.loads(RULES_FILE.read_text("utf-8"))["rules"]
    return tuple(Rule(tuple(entry["seen"]), entry["weights"]) for entry in entries)


def central_joints(
    points: Mapping[str, np.ndarray], confidence: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Spine, thorax, jaw and head of every frame (T, 2), how far to believe them (T,), and which
    rule made them (T,): the first whose parts of the face are seen, -1 if none applies.

    Joints are believed as far as the least certain that they are made of: not at all in frames
    that lack a shoulder or a hip.
    """
    where, sure = grouped(points, confidence)
    made: dict[str, np.ndarray] = {}
    believed: dict[str, np.ndarray] = {}
    used = np.full(len(where["hips"]), -1)
    for number, rule in reversed(list(enumerate(rules()))):  # better ones replace worse ones
        least = np.min([sure[name] for name in (*rule.seen, "shoulders", "hips")], 0)
        applies = least > 0
        used = np.where(applies, number, used)
        for joint, shares in rule.weights.items():
            place = np.sum([share * where[name] for name, share in shares.items()], 0)
            made[joint] = np.where(applies[:, None], place, made.get(joint, 0.0))
            believed[joint] = np.where(applies, least, believed.get(joint, 0.0))
    return made, believed, used


def grouped(
    points: Mapping[str, np.ndarray], confidence: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The middle of each group (T, 2), and its confidence (T,): zero where it is not seen."""
    length = len(next(iter(points.values())))
    nowhere, unseen = np.zeros((length, 2)), np.zeros(length)
    where, sure = {}, {}
    for group, names in GROUPS.items():
        places = np.stack([points.get(name, nowhere) for name in names])
        known = np.stack([confidence.get(name, unseen) for name in names])
        weight = known > 0 if group in _EITHER else np.ones_like(known)
        total = weight.sum(0).clip(1)[:, None]
        where[group] = (weight[..., None] * places).sum(0) / total
        sure[group] = known.max(0) if group in _EITHER else known.min(0)
    return where, sure
