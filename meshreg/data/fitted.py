"""Fitted bodies from files: results of `meshreg fit`, SMPL parameters, or plain meshes."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.smpl import NUM_JOINTS, Body
from meshreg.data.camera_files import read_camera
from meshreg.errors import InputError, MissingFileError
from meshreg.export import load_npz
from meshreg.geometry.cameras import check_focal

MESH_SUFFIXES = (".obj", ".ply")
FIT_SUFFIXES = (".npz", *MESH_SUFFIXES)
_KEYS = "betas, transl, K, and body_pose with global_orient or pose"
_DAMAGED = (ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile)


@dataclass(frozen=True, eq=False)
class FittedBody:
    """A body in the camera of the picture that it was fitted to."""

    vertices_cam: Float[Tensor, "V 3"]  # metres
    K: Float[Tensor, "3 3"] | None  # pixels of the whole picture; None: kept in another file
    size: tuple[int, int] | None  # of that picture (height, width); None: the file does not say


def read_fitted(path: Path, body: Body) -> FittedBody:
    """Read a body from a result of `meshreg fit`, an `.npz` of SMPL parameters, or a mesh.

    Parameters are betas, transl, K and the pose as rotation vectors (body_pose and global_orient,
    or pose, which is both); `image_size` (height, width) is optional. Meshes are in the camera's
    frame, in metres; those that lie behind an OpenCV camera are in OpenGL's axes, as meshreg and
    most programs write them, and are turned.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds something else, or another body than `body`.
    """
    if not path.is_file():
        raise MissingFileError(f"no fitted body at {path}: check the path.")
    if path.suffix.lower() in MESH_SUFFIXES:
        return _from_mesh(path, body)
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"{path} is no fitted body: expected a file ending in {', '.join(FIT_SUFFIXES)}."
        )
    arrays = _arrays(path)
    if "schema_version" not in arrays:
        return _from_parameters(path, arrays, body)
    record = load_npz(path)
    check_same_topology(body.topology_hash, record.topology_hash, f"the fit {path}")
    return FittedBody(
        vertices_cam=torch.from_numpy(record.vertices_cam).float(),
        K=torch.from_numpy(record.K).float(),
        size=record.image_size,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except _DAMAGED as error:
        raise InputError(
            f"{path} is damaged or no .npz of plain arrays: expected a result of `meshreg fit`, or "
            f"{_KEYS}."
        ) from error


def _from_parameters(path: Path, arrays: Mapping[str, np.ndarray], body: Body) -> FittedBody:
    """Pose the body as the file says.

    Raises:
        InputError: if a key is missing, or of another shape than expected.
    """
    try:
        if "pose" in arrays:
            pose = arrays["pose"].reshape(NUM_JOINTS, 3)
        else:
            pose = np.zeros((NUM_JOINTS, 3))
            joints = arrays["body_pose"].reshape(-1, 3)  # 23, or 21 without hands
            pose[0], pose[1 : 1 + len(joints)] = arrays["global_orient"].reshape(3), joints
        betas = np.zeros((1, body.num_betas))
        given = arrays["betas"].reshape(-1)
        betas[0, : len(given)] = given
        transl, K = arrays["transl"].reshape(1, 3), arrays["K"].reshape(3, 3)
        size = arrays["image_size"].reshape(2).tolist() if "image_size" in arrays else None
        values = [torch.from_numpy(np.asarray(a, np.float32)) for a in (betas, pose, transl, K)]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no fitted body ({str(error)[:80]}): expected {_KEYS} of one SMPL body."
        ) from error
    if not all(bool(value.isfinite().all()) for value in values):
        raise InputError(f"{path} holds numbers that are not finite: fit this picture again.")
    with torch.no_grad():
        rotmat = roma.rotvec_to_rotmat(values[1])[None]
        vertices, _ = body.skin(values[0], rotmat, values[2])
    return FittedBody(
        vertices_cam=vertices[0],
        K=values[3],
        size=None if size is None else (int(size[0]), int(size[1])),
    )


def _from_mesh(path: Path, body: Body) -> FittedBody:
    vertices = _obj_vertices(path) if path.suffix.lower() == ".obj" else _ply_vertices(path)
    if len(vertices) != len(body.v_template):
        raise InputError(
            f"{path} has {len(vertices)} vertices but the body {body.data.name} has "
            f"{len(body.v_template)}: name the body that was fitted with --body."
        )
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} holds vertices that are not finite: write the mesh again.")
    if (vertices[:, 2] < 0).all():  # nobody behind the camera is in the picture: z is backward
        vertices = vertices * [1, -1, -1]
    return FittedBody(vertices_cam=torch.from_numpy(vertices).float(), K=None, size=None)


def _obj_vertices(path: Path) -> Float[np.ndarray, "V 3"]:
    """The vertices in the order of the file; mesh libraries split them at texture seams."""
    try:
        with path.open(encoding="utf-8") as lines:
            rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
        return np.array(rows, np.float64).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path} is no OBJ mesh ({str(error)[:80]}): write it again.") from error


def _ply_vertices(path: Path) -> Float[np.ndarray, "V 3"]:
    import trimesh

    try:
        mesh = trimesh.load(path, file_type="ply", process=False)
        return np.asarray(mesh.vertices, np.float64).reshape(-1, 3)
    except Exception as error:  # the reader raises whatever its many formats run into
        raise InputError(f"{path} is no PLY mesh ({str(error)[:80]}): write it again.") from error


def find_K(path: Path, size: tuple[int, int], shared: Path | None = None) -> Float[Tensor, "3 3"]:
    """The intrinsics of the picture that a mesh was fitted to.

    They are in a file beside it, `NAME.json`, `NAME_camera.json` or `NAME.npz` (key K), else in
    the `shared` camera file.

    Raises:
        InputError: if there is none, or it holds no sensible intrinsics for a picture of this size.
    """
    beside = [path.with_suffix(".json"), path.with_name(f"{path.stem}_camera.json")]
    beside += [path.with_suffix(".npz"), *([shared] if shared else [])]
    for file in beside:
        if file.is_file() or file == shared:
            return _K_of_arrays(file, size) if file.suffix == ".npz" else read_camera(file, size).K
    raise InputError(
        f"no camera for the mesh {path}: put {beside[0].name} with K beside it, or give --camera."
    )


def _K_of_arrays(path: Path, size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    array = _arrays(path).get("K") if path.is_file() else None
    if array is None or array.size != 9 or not np.isfinite(array).all():
        raise InputError(f"{path} holds no camera: expected a 3x3 array K in pixels.")
    K = torch.from_numpy(np.asarray(array, np.float32)).reshape(3, 3)
    for focal in (K[0, 0], K[1, 1]):
        check_focal(float(focal), size)
    return K
