"""One way in for all motion files: what a file is, its content tells."""

from pathlib import Path
from typing import Any

from meshreg.data.amass import amass_motion, is_amass
from meshreg.data.bvh import read_bvh
from meshreg.data.motion import Motion, joined, motion_of_arrays, read_arrays
from meshreg.data.motion_checks import warn_about_speed
from meshreg.data.retarget import retarget
from meshreg.data.smpl_poses import load_smpl_poses, smpl_motion
from meshreg.errors import InputError, MissingFileError

FOLDER_FPS = 30.0
_POSES = {"poses", "pose_body", "body_pose"}
_SUFFIXES = (".bvh", ".npz")
_MAGIC_ZIP, _MAGIC_NPY = b"PK", b"\x93NUMPY"


def read_motion(path: str | Path, *, fps: float | None = None) -> Motion:
    """Read motion: a BVH file, an AMASS or other `.npz`, an `.npy`, or a folder of such files.

    The clips keep their own frame rate unless `fps` is given; those of a folder are brought to 30.
    A `MotionWarning` tells of clips whose speed is implausible.

    Raises:
        MissingFileError: if there is nothing at `path`.
        InputError: if it is nothing of these kinds, or is faulty.
    """
    path = Path(path)
    if path.is_dir():
        motion = _read_folder(path, FOLDER_FPS if fps is None else fps)
    else:
        motion = _read_file(path)
        warn_about_speed(motion, path)
    return motion if fps is None or fps == motion.fps else motion.resampled(fps)


def _read_file(path: Path) -> Motion:
    if not path.is_file():
        raise MissingFileError(f"no motion at {path}: give a .bvh or .npz file or a folder.")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_MAGIC_NPY):
        return load_smpl_poses(path)
    if start.startswith(_MAGIC_ZIP):
        return _of_arrays(read_arrays(path), path)
    if start.decode("utf-8-sig", "replace").lstrip().upper().startswith("HIERARCHY"):
        return retarget(read_bvh(path), path)
    raise InputError(
        f"{path} is neither BVH nor arrays of SMPL poses: give a .bvh, .npz or .npy file."
    )


def _of_arrays(arrays: dict[str, Any], path: Path) -> Motion:
    if "offsets" in arrays:
        return motion_of_arrays(arrays, path)
    return amass_motion(arrays, path) if is_amass(arrays) else smpl_motion(arrays, path)


def files_below(folder: Path) -> list[Path]:
    """The files of a folder, and of those in it, that may hold motion; in the order of reading."""
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _SUFFIXES]


def _read_folder(path: Path, fps: float) -> Motion:
    """All BVH and `.npz` clips below a folder; `.npz` files without poses are passed over."""
    clips = []
    for file in files_below(path):
        if file.suffix.lower() == ".bvh":
            clip = _read_file(file)
        elif _POSES & set(arrays := read_arrays(file)):
            clip = _of_arrays(arrays, file)
        else:
            continue
        warn_about_speed(clip, file)
        clips.append(clip.resampled(fps))
    if not clips:
        raise InputError(f"found no motion below {path}: give a folder with .bvh or .npz files.")
    return joined(clips)
