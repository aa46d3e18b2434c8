"""What a clip from a foreign file must pass on its way into a `Motion`."""

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.data.motion import Motion, MotionWarning
from meshreg.errors import InputError

ASSUMED_FPS = 30.0  # of files that do not tell
UP_FROM_Z = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
# Words in file names that tell what people do; the first that fits names the category.
_WORDS = {
    "breakdance": "breakdanc",
    "walking": "walk|stroll|march",
    "running": "run|jog|sprint",
    "jumping": "jump|hop|leap",
    "sitting": "sit|chair",
    "dance": "danc|salsa|ballet",
    "fighting": "punch|kick|box|fight|karate|sword",
    "climbing": "climb|ladder",
    "sports": "basketball|soccer|football|golf|tennis|throw|catch",
    "gesture": "gestur|wave|point|talk",
    "standing": "stand|idle",
}
# In real mocap the fastest joint of a frame turns at 3.7 to 26 rad/s in the 90th percentile of a
# clip (165 CMU clips), and nobody's pelvis keeps up more than a sprinter's speed.
_FASTEST_TURN = 30.0
_FASTEST_TRAVEL = 12.0  # m/s
_SLOWEST_WALK_TURN = 3.0  # rad/s, of people who get along with swinging legs


def shape_error(path: Path, name: str, shape: tuple[int, ...], expected: str) -> InputError:
    """The sentence for an array of the wrong shape."""
    return InputError(f"{path} has {name} of shape {shape}: expected {expected}.")


def one_clip(
    poses: Float[np.ndarray, "N 24 3"],
    pelvis: Float[np.ndarray, "N 3"],
    fps: float,
    path: Path,
    *,
    licence: str,
    betas: np.ndarray | None = None,
    gender: str = "",
) -> Motion:
    """A motion of one clip, whose name, subject and category come from the file's name.

    Raises:
        InputError: if there are no frames, numbers are not finite, or the rate makes no sense.
    """
    if len(poses) == 0:
        raise InputError(f"{path} holds no frames: give a file with at least one pose.")
    for name, array in {"poses": poses, "positions": pelvis, "betas": betas}.items():
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"{path} holds {name} that are not finite: repair or drop the file.")
    if not 0 < fps < math.inf:
        raise InputError(f"{path} gives {fps} frames per second: expected a number above 0.")
    shape = None if betas is None else torch.from_numpy(np.asarray(betas, np.float32))[None]
    return Motion(
        poses=torch.from_numpy(poses.astype(np.float32)),
        pelvis=torch.from_numpy(pelvis.astype(np.float32)),
        clip=torch.zeros(len(poses), dtype=torch.int64),
        fps=float(fps),
        names=(path.stem,),
        subject=(subject_of(path),),
        category=(category_of(path.stem),),
        licence=licence,
        betas=shape,
        gender=(gender,) if gender else (),
    )


def fps_or_assumed(value: Any, path: Path) -> float:
    """The frame rate of a file; without one, an assumption and a warning."""
    if value is None:
        warnings.warn(
            f"{path} does not tell its frame rate: {ASSUMED_FPS:g} per second are assumed.",
            MotionWarning,
            stacklevel=2,
        )
        return ASSUMED_FPS
    return float(np.asarray(value).reshape(()))


def subject_of(path: Path) -> int:
    """The number in names such as `05/05_01_poses.npz`; 0 if there is none."""
    found = re.match(r"(\d{1,4})_\d+", path.stem)
    if found:
        return int(found.group(1))
    return int(path.parent.name) if re.fullmatch(r"\d{1,4}", path.parent.name) else 0


def category_of(name: str) -> str:
    """What people do, by the words in a clip's name; "unknown" if they do not tell."""
    for category, words in _WORDS.items():
        if re.search(rf"(?<![a-z])({words})", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()):
            return category
    return "unknown"


def turned_up(
    poses: Float[Tensor, "N 24 3"], pelvis: Float[Tensor, "N 3"], R_up_source: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "N 24 3"], Float[Tensor, "N 3"]]:
    """Poses and positions in a world whose y axis points up."""
    turned = poses.clone()
    turned[:, 0] = roma.rotmat_to_rotvec(R_up_source @ roma.rotvec_to_rotmat(poses[:, 0]))
    return turned, pelvis @ R_up_source.T


def warn_about_speed(motion: Motion, source: Path) -> None:
    """Warn about clips that look as if their frame rate were wrong; nothing is changed."""
    for clip, name in enumerate(motion.names):
        span = motion.frames_of(clip)
        if fault := _odd_speed(motion.poses[span], motion.pelvis[span], motion.fps):
            warnings.warn(
                f"{source}: {name} looks as if its {motion.fps:g} frames per second were wrong, "
                f"for {fault}.",
                MotionWarning,
                stacklevel=2,
            )


def _odd_speed(poses: Float[Tensor, "N 24 3"], pelvis: Float[Tensor, "N 3"], fps: float) -> str:
    """What is odd about a clip's speed, in words; empty if nothing is."""
    if len(poses) < 10:
        return ""
    rotmat = roma.rotvec_to_rotmat(poses)
    turn = roma.rotmat_geodesic_distance(rotmat[1:, 1:], rotmat[:-1, 1:]).amax(-1) * fps
    turn90 = turn.quantile(0.9).item()
    travel = (pelvis[1:] - pelvis[:-1]).norm(dim=-1) * fps
    if turn90 > _FASTEST_TURN:
        return f"joints turn at {turn90:.0f} rad/s"
    if travel.quantile(0.95) > _FASTEST_TRAVEL:
        return f"the body travels at {travel.quantile(0.95):.0f} m/s"
    left, right = rotmat[:, SKELETONS["smpl24"].index("left_hip", "right_hip")].unbind(1)
    swing = torch.atan2(left[:, 2, 1], left[:, 1, 1]) - torch.atan2(right[:, 2, 1], right[:, 1, 1])
    gone = (pelvis[-1] - pelvis[0])[[0, 2]].norm()
    if swing.std() > 0.35 and gone > 1.5 and turn90 < _SLOWEST_WALK_TURN:
        return f"this walk's joints turn at {turn90:.1f} rad/s only"
    return ""
