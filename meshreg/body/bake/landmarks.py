"""The 21 surface points that smplx reads as extra joints, and the vertex order that gives them."""

import numpy as np

from meshreg.body.bake.cavities import ClosedMesh
from meshreg.body.bake.makehuman import MakeHuman
from meshreg.body.bake.rig import JOINT

# smplx picks these vertices of any SMPL body, whatever its mesh: our landmarks must stand there.
LANDMARK_SLOTS = {
    "nose": 332,
    "right_eye": 6260,
    "left_eye": 2800,
    "right_ear": 4071,
    "left_ear": 583,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
}
FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def find_landmarks(
    human: MakeHuman, mesh: ClosedMesh, tpose: np.ndarray, weights: np.ndarray
) -> dict[str, int]:
    """MakeHuman's vertex for each landmark: left ones by their place, right ones by mirroring."""
    skin = np.unique(mesh.faces)
    left_eye = mesh.eye_poles[0]

    def nearest(point: np.ndarray) -> int:
        return int(skin[((tpose[skin] - point) ** 2).sum(1).argmin()])

    def cube(name: str) -> np.ndarray:
        return human.cube(tpose, f"l-{name}")

    found = {
        "nose": nose_tip(human, skin, tpose, weights, tpose[left_eye, 1]),
        "left_eye": left_eye,
    }
    head = skin[weights[skin, JOINT["head"]] > 0.9]
    outermost = head[tpose[head, 0] > tpose[head, 0].max() - 0.018]
    found["left_ear"] = nearest(tpose[outermost].mean(0) - [0.006, 0, -0.004])
    for number, finger in enumerate(FINGERS, start=1):
        tip, knuckle = cube(f"finger-{number}-4"), cube(f"finger-{number}-3")
        found[f"left_{finger}"] = nearest(tip + 0.3 * (tip - knuckle))
    found["left_big_toe"] = nearest(cube("toe-1-3") + [0, 0.006, 0.004])
    found["left_small_toe"] = nearest(cube("toe-5-4") + [0, 0.004, 0])
    foot = skin[weights[skin, JOINT["left_ankle"]] > 0.8]
    sole = foot[tpose[foot, 1] < tpose[foot, 1].min() + 0.035]
    found["left_heel"] = int(sole[tpose[sole, 2].argmin()])
    for name, vertex in list(found.items()):
        if name.startswith("left_"):
            found[name.replace("left_", "right_")] = int(human.mirror[vertex])
    assert found.keys() == LANDMARK_SLOTS.keys() and len(set(found.values())) == len(found), found
    return found


def nose_tip(
    human: MakeHuman, skin: np.ndarray, tpose: np.ndarray, weights: np.ndarray, eye_height: float
) -> int:
    """The foremost mid-line vertex of the head between the eyes and 5.5 cm below them."""
    midline = skin[(human.mirror[skin] == skin) & (weights[skin, JOINT["head"]] > 0.9)]
    below_eyes = eye_height - tpose[midline, 1]
    candidates = midline[(below_eyes > 0) & (below_eyes < 0.055)]
    return int(candidates[tpose[candidates, 2].argmax()])


def vertex_order(used: np.ndarray, landmarks: dict[str, int]) -> np.ndarray:
    """The used vertices, landmarks in smplx's slots and the others around them in old order."""
    assert len(used) > max(LANDMARK_SLOTS.values())
    in_slot = {LANDMARK_SLOTS[name]: vertex for name, vertex in landmarks.items()}
    others = iter(used[~np.isin(used, list(in_slot.values()))])
    return np.array(
        [in_slot[place] if place in in_slot else next(others) for place in range(len(used))]
    )
