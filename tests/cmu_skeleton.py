"""A skeleton like CMU's as BVH: legs splayed by 20 degrees, arms along x, names of two families."""

import math

import roma
import torch
from torch import Tensor

from meshreg.data.bvh import Bvh

SPLAY = math.radians(20)
LEG = 7.0  # thigh and shin each, in the unit of CMU's files

_TRUNK = [
    ("Hips", "", (0, 0, 0)),
    ("LowerBack", "Hips", (0, 0.5, 0)),
    ("Spine", "LowerBack", (0, 2, -0.1)),
    ("Spine1", "Spine", (0, 2, 0.1)),
    ("Neck", "Spine1", (0, 1.6, 0.2)),
    ("Head", "Neck", (0, 1.5, 0)),
    ("Head end", "Head", (0, 1.6, 0.1)),
]
_SIDE = [
    ("UpLeg", "Hips", (1.4, -1.6, 0.6)),
    ("Leg", "UpLeg", (LEG * math.sin(SPLAY), -LEG * math.cos(SPLAY), 0)),
    ("Foot", "Leg", (LEG * math.sin(SPLAY), -LEG * math.cos(SPLAY), 0)),
    ("ToeBase", "Foot", (0.2, -0.6, 2.1)),
    ("ToeBase end", "ToeBase", (0, 0, 1)),
    ("Shoulder", "Spine1", (0.1, 1.0, 0.2)),
    ("Arm", "Shoulder", (3.2, 0.4, -0.2)),
    ("ForeArm", "Arm", (5.0, 0, 0)),
    ("Hand", "ForeArm", (3.4, 0, 0)),
    ("FingerBase", "Hand", (0.3, 0, 0)),
    ("FingerBase end", "FingerBase", (0.8, 0, 0)),
]
_ASF = {
    "Hips": "root",
    "LowerBack": "lowerback",
    "Spine": "upperback",
    "Spine1": "thorax",
    "Neck": "lowerneck",
    "Head": "head",
}
_ASF_SIDE = {
    "UpLeg": "femur",
    "Leg": "tibia",
    "Foot": "foot",
    "ToeBase": "toes",
    "Shoulder": "clavicle",
    "Arm": "humerus",
    "ForeArm": "radius",
    "Hand": "wrist",
    "FingerBase": "hand",
}


def zero_motion(frames: int = 1, fps: float = 120.0) -> Bvh:
    """The skeleton standing in its zero pose, with MotionBuilder's names."""
    nodes = [*_TRUNK]
    for side, sign in (("Left", 1), ("Right", -1)):
        for name, parent, (x, y, z) in _SIDE:
            on_side = parent not in ("Hips", "Spine1")
            nodes.append((side + name, side + parent if on_side else parent, (sign * x, y, z)))
    names = [name for name, _, _ in nodes]
    offsets = torch.tensor([offset for _, _, offset in nodes], dtype=torch.float64)
    position = offsets.repeat(frames, 1, 1)
    position[:, 0] = torch.tensor([3.0, 16.0, -2.0])
    return Bvh(
        joints=tuple(names),
        parents=tuple(names.index(parent) if parent else -1 for _, parent, _ in nodes),
        offsets=offsets,
        local_rotmat=torch.eye(3, dtype=torch.float64).repeat(frames, len(nodes), 1, 1),
        local_position=position,
        frame_time=1 / fps,
    )


def turn(bvh: Bvh, joint: str, rotvec: Tensor) -> None:
    """Turn one joint, in place, in one frame or all."""
    bvh.local_rotmat[:, bvh.joints.index(joint)] = roma.rotvec_to_rotmat(rotvec.double())


def asf_name(name: str) -> str:
    end = " end" if name.endswith(" end") else ""
    name = name.removesuffix(" end")
    if name in _ASF:
        return _ASF[name] + end
    side = "Left" if name.startswith("Left") else "Right"
    return side[0].lower() + _ASF_SIDE[name.removeprefix(side)] + end


def lively_motion(frames: int = 40) -> Bvh:
    """Every joint swings smoothly, knees and elbows as hinges, while the body turns round."""
    bvh = zero_motion(frames)
    phase = torch.linspace(0, 2 * math.pi, frames, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    for joint in bvh.joints:
        if joint.endswith(" end"):
            continue
        size = 0.25 * torch.randn(3, generator=generator, dtype=torch.float64)
        start = 6 * torch.rand(3, generator=generator, dtype=torch.float64)
        rotvec = size * torch.sin(phase[:, None] + start)
        if joint.endswith(("UpLeg", "Arm")) and not joint.endswith("ForeArm"):
            rotvec = 2.5 * rotvec
        if joint in ("LeftLeg", "RightLeg"):
            # The hinge lies across the splayed leg.
            sign = 1 if joint == "LeftLeg" else -1
            hinge = torch.tensor([math.cos(SPLAY), sign * math.sin(SPLAY), 0]).double()
            rotvec = (0.8 - 0.7 * torch.cos(phase))[:, None] * hinge
        if joint == "Hips":
            rotvec = rotvec * 0
            rotvec[:, 1] = phase
        turn(bvh, joint, rotvec)
    bvh.local_position[:, 0] += torch.stack([phase, 0.2 * torch.sin(phase), 3 * phase], 1)
    return bvh
