"""Small files as data sets publish them, of people that the built-in body poses."""

from functools import cache
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image

from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.body.smpl import Body, load_body
from meshreg.geometry.cameras import intrinsics, project

SIZE = (120, 160)
COUNT = 3
K = intrinsics(180.0, 180.0, 85.0, 55.0)


@cache
def body() -> Body:
    return load_body()


def truth() -> dict[str, torch.Tensor]:
    """Three people in front of the camera."""
    generator = torch.Generator().manual_seed(5)
    pose = 0.3 * torch.randn(COUNT, 24, 3, generator=generator)
    pose[:, 0] = torch.tensor([np.pi, 0.0, 0.0])  # upright in a camera whose y points down
    betas = torch.randn(COUNT, 10, generator=generator)
    transl = torch.tensor([[0.0, 0.1, 3.5], [0.3, 0.0, 4.0], [-0.3, 0.2, 5.0]])
    posed = body()(betas, roma.rotvec_to_rotmat(pose), transl)
    return {
        "pose": pose,
        "betas": betas,
        "transl": transl,
        "joints": posed.joints,
        "joints_px": project(posed.joints, K.expand(COUNT, 3, 3)),
        "vertices": posed.vertices,
    }


def spin_columns() -> dict[str, np.ndarray]:
    """A SPIN file whose annotations are the projected joints; `part` and `S` know some joints."""
    true = truth()
    places, found = map_joints(SKELETONS["smplx45"], SKELETONS["spin49"])
    weight = torch.tensor(found).double()[None, :, None].expand(COUNT, -1, -1)
    pixels = torch.cat([true["joints_px"][:, places].double(), weight], 2) * weight
    points = true["joints"][:, places] - true["joints"][:, :1]
    points = torch.cat([points.double(), weight], 2) * weight
    middle = (true["joints_px"].amax(1) + true["joints_px"].amin(1)) / 2
    return {
        "imgname": np.array([f"clip/{index}.png" for index in range(COUNT)]),
        "center": middle.numpy(),
        "scale": np.array([0.6, 0.5, 0.4]),
        "openpose": pixels[:, :25].numpy(),
        "part": pixels[:, 25:].numpy(),
        "S": points[:, 25:].numpy(),
        "pose": true["pose"].reshape(COUNT, 72).numpy(),
        "shape": true["betas"].numpy(),
        "has_smpl": np.array([1, 1, 0]),
        "gender": np.array(["m", "f", "m"]),
        "topology_hash": np.array(body().topology_hash),
    }


def write_pictures(folder: Path, *, size: tuple[int, int] = SIZE) -> Path:
    """Pictures of noise under the names of `spin_columns`."""
    (folder / "clip").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "clip" / f"{index}.png")
    return folder


def bedlam_columns() -> dict[str, np.ndarray]:
    """A BEDLAM file, SMPL version, of the same people; pixels counted from the corner."""
    true = truth()
    extrinsics = np.tile(np.eye(4), (COUNT, 1, 1))
    extrinsics[:, :3, 3] = [0.1, -0.2, 1.0]
    camera = K.numpy().copy()
    camera[:2, 2] += 0.5
    joints = true["joints_px"].numpy() + 0.5
    ones = np.ones((COUNT, 45, 1), np.float32)
    return {
        "imgname": np.array([f"clip/{index}.png" for index in range(COUNT)]),
        "center": joints[:, :22].mean(1),
        "scale": np.array([0.6, 0.5, 0.4]),
        "pose_cam": true["pose"].reshape(COUNT, 72).numpy(),
        "shape": true["betas"].numpy(),
        "trans_cam": true["transl"].numpy() - extrinsics[:, :3, 3],
        "cam_ext": extrinsics,
        "cam_int": np.tile(camera, (COUNT, 1, 1)),
        "gtkps": np.concatenate([joints, ones], 2),
        "sub": np.array(["s1"] * COUNT),
    }


def write(path: Path, columns: dict[str, np.ndarray], **changed: np.ndarray | None) -> Path:
    """An `.npz` of the columns; None leaves one out."""
    together = {k: v for k, v in (columns | changed).items() if v is not None}
    np.savez(path, **together)
    return path
