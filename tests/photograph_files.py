"""Tiny data sets of annotated photographs, one in each format; a dot marks each joint."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from people_files import COUNT, SIZE, K, bedlam_columns, spin_columns, truth, write
from PIL import Image

from meshreg.body.skeleton import SKELETONS
from meshreg.data.sample import KEYPOINTS
from meshreg.data.threedpw import _OPENPOSE_18

HALF_DOT = 2
DOTTED = SKELETONS["smplx45"].index(
    "nose",
    *(f"{side}_{part}" for side in ("left", "right") for part in ("elbow", "wrist")),
    *(f"{side}_{part}" for side in ("left", "right") for part in ("knee", "ankle")),
)
MASK_IDS = (14, 15)  # left and right half of every picture


def make_photographs(folder: Path, kind: str) -> dict[str, Any]:
    """Write a data set; returns the settings `path`, `images` and `masks` of its source."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "threedpw":
        path = folder / "clip.pkl"
        path.write_bytes(pickle.dumps(threedpw_content()))
        names = [f"clip/image_{index:05d}.jpg" for index in range(COUNT)]
    else:
        columns = spin_columns() if kind == "spin" else bedlam_columns()
        path = write(folder / f"{kind}.npz", columns)
        names = [f"clip/{index}.png" for index in range(COUNT)]
    for index, name in enumerate(names):
        write_dots(folder / "images" / name, truth()["joints_px"][index].numpy())
        write_mask((folder / "masks" / name).with_suffix(".png"))
    return {"path": path, "images": folder / "images", "masks": folder / "masks"}


def dot_color(joint: int) -> np.ndarray:  # (3,)
    """A colour for each of `DOTTED`, far from all others and from black."""
    bits = DOTTED.index(joint) + 1
    return np.array([120 * (bits % 3), 120 * (bits // 3 % 3), 120 * (bits // 9)])


def write_dots(path: Path, joints_px: np.ndarray) -> None:
    """A black picture with a square dot at some joints."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for joint in DOTTED:
        x, y = joints_px[joint].round().astype(int)
        rows = slice(max(y - HALF_DOT, 0), max(y + HALF_DOT + 1, 0))
        image[rows, max(x - HALF_DOT, 0) : max(x + HALF_DOT + 1, 0)] = dot_color(joint)
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(image).save(path, **how)


def write_mask(path: Path, size: tuple[int, int] = SIZE) -> None:
    """A label map with a left arm on the left and a right one on the right."""
    labels = np.full(size, MASK_IDS[0], np.uint8)
    labels[:, size[1] // 2 :] = MASK_IDS[1]
    labels[0, 0] = 5
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def threedpw_content() -> dict[str, Any]:
    """A sequence file of 3DPW: the same people as frames of one man whose camera stands still."""
    true, columns = truth(), spin_columns()
    places = KEYPOINTS.index(*_OPENPOSE_18)
    return {
        "sequence": "clip",
        "poses": [true["pose"].reshape(COUNT, 72).double().numpy()],
        "betas": [true["betas"][0].double().numpy()],
        "genders": ["m"],
        "poses2d": [columns["openpose"][:, places].transpose(0, 2, 1)],
        "cam_poses": np.tile(np.eye(4), (COUNT, 1, 1)),
        "cam_intrinsics": K.double().numpy(),
        "campose_valid": [np.ones(COUNT)],
    }
