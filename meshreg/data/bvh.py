"""BVH files, the plain-text format of motion capture: read into rotations, and written.

The format knows neither the unit of length nor which way is up; both stay as the file has them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

_AXES = {"X": 0, "Y": 1, "Z": 2}
_CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
_EXPORT_AGAIN = "export it again as BVH."


@dataclass(frozen=True, eq=False)
class Bvh:
    """A skeleton and its motion. Without rotations the skeleton is in its zero pose."""

    joints: tuple[str, ...]  # unique names, parents before children; tips end in " end"
    parents: tuple[int, ...]  # index of each joint's parent; -1 for the root
    offsets: Float[Tensor, "J 3"]  # from the parent's place, in the zero pose, the file's unit
    local_rotmat: Float[Tensor, "T J 3 3"]  # relative to the parent; identity for tips
    local_position: Float[Tensor, "T J 3"]  # from the parent; the offset where nothing moves
    frame_time: float  # seconds

    @property
    def fps(self) -> float:
        """Frames per second; 120 also for a frame time that the file rounds to 0.0083333."""
        rate = 1.0 / self.frame_time
        return float(round(rate)) if abs(rate - round(rate)) < 1e-4 * rate else rate


@dataclass
class _Hierarchy:
    """What the first half of a file says, while it is being read."""

    joints: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[list[str]] = field(default_factory=list)

    def add(self, name: str, parent: int) -> int:
        taken, number = name, 2
        while name in self.joints:  # some exporters name several joints alike
            name, number = f"{taken} {number}", number + 1
        self.joints.append(name)
        self.parents.append(parent)
        self.offsets.append([0.0, 0.0, 0.0])
        self.channels.append([])
        return len(self.joints) - 1


def read_bvh(path: str | Path) -> Bvh:
    """Read a BVH file; channels may come in any order and on any joint.

    A joint with position channels sits at the channels' values instead of at its offset.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no BVH file, is cut short, has no frames or numbers that are not
            finite.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no motion file at {path}: give the path of a .bvh file.")
    text = path.read_text(encoding="utf-8", errors="replace")
    head, found, tail = (*re.split(r"^\s*(MOTION)\s*$", text, maxsplit=1, flags=re.M), "", "")[:3]
    if not head.split() or head.split()[0].upper() != "HIERARCHY" or not found:
        raise InputError(
            f"expected a BVH file with its parts HIERARCHY and MOTION at {path}, found something "
            f"else or half a file: {_EXPORT_AGAIN}"
        )
    try:
        hierarchy = _parse_hierarchy(iter(head.split()[1:]))
        count, frame_time, values = _parse_motion(tail, sum(map(len, hierarchy.channels)))
    except (StopIteration, IndexError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else "its skeleton is cut short"
        raise InputError(f"cannot read {path} as BVH ({reason}): {_EXPORT_AGAIN}") from error
    return _bvh(hierarchy, torch.from_numpy(values.reshape(count, -1)), frame_time)


def _parse_hierarchy(words: Iterator[str]) -> _Hierarchy:
    tree, joint = _Hierarchy(), -1
    open_joints: list[int] = []
    for word in words:
        match word:
            case "ROOT" | "JOINT" | "End":
                if not open_joints and tree.joints:
                    raise ValueError("it has more than one skeleton")
                joint = _add_node(tree, word, next(words), open_joints)
            case "{":
                open_joints.append(joint)
            case "}":
                if not open_joints:
                    raise ValueError("its skeleton closes more brackets than it opens")
                open_joints.pop()
            case "OFFSET":
                tree.offsets[joint] = [float(next(words)) for _ in range(3)]
            case "CHANNELS":
                tree.channels[joint] = _channels([next(words) for _ in range(int(next(words)))])
            case _:
                raise ValueError(f"its skeleton holds the unknown word {word!r}")
    if open_joints:
        raise ValueError("its skeleton is cut short")
    _check_hierarchy(tree)
    return tree


def _add_node(tree: _Hierarchy, word: str, name: str, open_joints: list[int]) -> int:
    if word == "End":
        return tree.add(f"{tree.joints[open_joints[-1]]} end", open_joints[-1])
    return tree.add(name, open_joints[-1] if open_joints else -1)


def _check_hierarchy(tree: _Hierarchy) -> None:
    if not tree.joints:
        raise ValueError("its skeleton is cut short")
    if not any(tree.channels):
        raise ValueError("its skeleton has no channels")
    if not np.isfinite(tree.offsets).all():
        raise ValueError("its skeleton has offsets that are not finite")


def _channels(names: list[str]) -> list[str]:
    if unknown := sorted(set(names) - _CHANNELS):
        raise ValueError(f"unknown channels {', '.join(unknown)}")
    return names


def _parse_motion(text: str, width: int) -> tuple[int, float, np.ndarray]:
    """Number of frames, seconds per frame, all channel values in a row."""
    words = text.replace("Frame Time", "FrameTime").replace(":", " ").split()
    if len(words) < 4 or (words[0], words[2]) != ("Frames", "FrameTime"):
        raise ValueError("after MOTION it does not give Frames and Frame Time")
    count, frame_time = int(words[1]), float(words[3])
    if count < 1:
        raise ValueError("it has no frames")
    if not (frame_time > 0 and np.isfinite(frame_time)):
        raise ValueError(f"its frame time of {frame_time} s is not a positive number")
    values = np.array(words[4:], np.float64)
    if len(values) != count * width:
        raise ValueError(
            f"it has {len(values)} numbers where {count} frames of {width} channels need "
            f"{count * width}"
        )
    if not np.isfinite(values).all():
        raise ValueError("it has numbers that are not finite")
    return count, frame_time, values


def _bvh(tree: _Hierarchy, values: Float[Tensor, "T C"], frame_time: float) -> Bvh:
    frames, joints = len(values), len(tree.joints)
    offsets = torch.tensor(tree.offsets, dtype=torch.float64)
    rotmat = torch.eye(3, dtype=torch.float64).repeat(frames, joints, 1, 1)
    position = offsets.repeat(frames, 1, 1)
    column = 0
    for joint, names in enumerate(tree.channels):
        for name in names:
            axis = _AXES[name[0]]
            if name.endswith("position"):
                position[:, joint, axis] = values[:, column]
            else:  # the first channel is the outermost rotation
                rotmat[:, joint] = rotmat[:, joint] @ _turn(values[:, column], axis)
            column += 1
    return Bvh(tuple(tree.joints), tuple(tree.parents), offsets, rotmat, position, frame_time)


def _turn(degrees: Float[Tensor, " T"], axis: int) -> Float[Tensor, "T 3 3"]:
    rotvec = torch.zeros(len(degrees), 3, dtype=degrees.dtype)
    rotvec[:, axis] = torch.deg2rad(degrees)
    return roma.rotvec_to_rotmat(rotvec)


def save_bvh(path: str | Path, bvh: Bvh) -> None:
    """Write a BVH file that `read_bvh` and animation programs read; rotations in order Z, X, Y.

    Only the root moves; the others keep their offsets.

    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    children: list[list[int]] = [[] for _ in bvh.joints]
    for joint, parent in enumerate(bvh.parents):
        if parent >= 0:
            children[parent].append(joint)
    lines: list[str] = ["HIERARCHY"]
    order: list[int] = []
    _write_joint(bvh, 0, children, lines, order)
    degrees = _zxy_degrees(bvh.local_rotmat[:, order]).flatten(1)
    rows = torch.cat([bvh.local_position[:, 0], degrees], 1).numpy()
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {bvh.frame_time:.9f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_joint(
    bvh: Bvh, joint: int, children: list[list[int]], lines: list[str], order: list[int]
) -> None:
    """Append a joint and all below it to `lines`, and to `order` those that have channels."""
    depth, node = 0, bvh.parents[joint]
    while node >= 0:
        depth, node = depth + 1, bvh.parents[node]
    tab, name = "\t" * depth, bvh.joints[joint]
    is_tip = name.endswith(" end") and not children[joint]
    kind = "End Site" if is_tip else f"{'JOINT' if depth else 'ROOT'} {name.replace(' ', '_')}"
    offset = " ".join(f"{value:.6f}" for value in bvh.offsets[joint].tolist())
    lines += [f"{tab}{kind}", f"{tab}{{", f"{tab}\tOFFSET {offset}"]
    if not is_tip:
        order.append(joint)
        channels = "3 Zrotation Xrotation Yrotation"
        if not depth:
            channels = "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
        lines.append(f"{tab}\tCHANNELS {channels}")
        for child in children[joint]:
            _write_joint(bvh, child, children, lines, order)
        if not children[joint]:  # programs expect every branch to end in a tip
            lines += [f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET 0 0 0", f"{tab}\t}}"]
    lines.append(f"{tab}}}")


def _zxy_degrees(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Angles z, x, y with R = Rz Rx Ry; programs dislike jumps, but BVH has no way round them."""
    x = torch.atan2(rotmat[..., 2, 1], rotmat[..., [0, 1], 1].norm(dim=-1))
    z = torch.atan2(-rotmat[..., 0, 1], rotmat[..., 1, 1])
    y = torch.atan2(-rotmat[..., 2, 0], rotmat[..., 2, 2])
    # At the pole z and y turn about the same axis: let z do it all.
    pole = rotmat[..., 2, 1].abs() > 1 - 1e-9
    z = torch.where(pole, torch.atan2(rotmat[..., 1, 0], rotmat[..., 0, 0]), z)
    y = torch.where(pole, torch.zeros_like(y), y)
    return torch.rad2deg(torch.stack([z, x, y], -1))
