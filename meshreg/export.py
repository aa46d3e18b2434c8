"""Files of a fitted body: the result as `.npz`, the mesh as `.glb`, `.obj` or `.ply`, pictures.

Each is written whole or not at all.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from PIL import Image

from meshreg.body.assets import write_npz
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole
from meshreg.geometry.mesh import vertex_normals

if TYPE_CHECKING:
    import trimesh

SCHEMA_VERSION = 1
MESH_SUFFIXES = (".glb", ".obj", ".ply")
IMAGE_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
JPEG_QUALITY = 95
ANIMATION_SUFFIXES = (".gif", ".mp4")
GIF_MAX_FPS = 50.0  # viewers slow down anything faster
VIDEO_CODECS = ("vp09", "mp4v")  # browsers play the first; the second is in every OpenCV
Color = tuple[int, int, int]  # display RGB, 0..255
SKIN = (184, 210, 238)  # display RGB of a mesh without a colour of its own
# From x right, y down, z forward to glTF's y up, z towards the viewer: half a turn about x.
R_GLTF_CAM = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class FitRecord:
    """One fitted person: metres, radians, pixels; OpenCV camera axes; pixel centres are integers.

    The field names are the keys of the `.npz` file. With smplx and the same body,
    `vertices_cam == SMPL(betas, body_pose, global_orient).vertices + transl`.
    """

    body: str  # name of the body model, such as "builtin" or "smpl_neutral"
    topology_hash: str  # of that body; vertex-keyed data of another body does not fit
    betas: Float[np.ndarray, "S"]  # shape coefficients
    body_pose: Float[np.ndarray, "23 3"]  # rotation vector of each joint but the pelvis
    global_orient: Float[np.ndarray, "3"]  # rotation vector body -> camera, about the pelvis
    transl: Float[np.ndarray, "3"]  # added to the vertices after the rotation
    pose_rotmat: Float[np.ndarray, "24 3 3"]  # global_orient and body_pose again, as matrices
    vertices_cam: Float[np.ndarray, "V 3"]
    joints_cam: Float[np.ndarray, "J 3"]
    joint_names: tuple[str, ...]  # of joints_cam
    K: Float[np.ndarray, "3 3"]  # intrinsics of the whole photo
    K_source: str  # in words, such as "field of view of 60 degrees (x), as given"
    image_size: tuple[int, int]  # (height, width)
    keypoint_names: tuple[str, ...]  # of the next three
    keypoints_px: Float[np.ndarray, "N 2"]  # what the fit was given
    keypoints_confidence: Float[np.ndarray, "N"]  # 0 = not seen; its position means nothing
    reprojection_px: Float[np.ndarray, "N 2"]  # the fitted body's points in the photo
    silhouette_iou: float = float("nan")  # overlap with the given person mask; NaN without one
    schema_version: int = SCHEMA_VERSION


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"expected a file name ending in {' or '.join(suffixes)}, found {path.name}: rename it."
        )


def save_npz(path: str | Path, record: FitRecord) -> None:
    """Write the result of a fit; its keys are the fields of `FitRecord`.

    Raises:
        InputError: if the file name does not end in `.npz`.
    """
    path = Path(path)
    _check_suffix(path, (".npz",))
    write_npz(
        path, {field.name: np.asarray(getattr(record, field.name)) for field in fields(record)}
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise MissingFileError(f"no result file at {path}: make one with `meshreg fit`.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"expected a result file of `meshreg fit` at {path}, found something else or a damaged "
            "file: write it again."
        ) from error


def load_npz(path: str | Path) -> FitRecord:
    """Read a result written by `save_npz`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no result file, of another version, or lacks a key.
    """
    arrays = _read_arrays(Path(path))
    missing = [field.name for field in fields(FitRecord) if field.name not in arrays]
    if missing:
        raise InputError(
            f"expected the keys of a fit result in {path}, found none named {', '.join(missing)}: "
            "write the file again with `meshreg fit`."
        )
    found = int(arrays["schema_version"])
    if found != SCHEMA_VERSION:
        raise InputError(
            f"expected schema version {SCHEMA_VERSION} in {path}, found {found}: read it with the "
            "version of meshreg that wrote it, or fit again."
        )
    read: dict[str, Any] = {field.name: arrays[field.name] for field in fields(FitRecord)}
    for name in ("body", "topology_hash", "K_source"):
        read[name] = str(read[name])
    for name in ("joint_names", "keypoint_names"):
        read[name] = tuple(str(entry) for entry in read[name])
    height, width = read["image_size"].tolist()
    return FitRecord(
        **read
        | {
            "image_size": (height, width),
            "silhouette_iou": float(read["silhouette_iou"]),
            "schema_version": found,
        }
    )


def _split_seams(faces: np.ndarray, uv_faces: np.ndarray) -> tuple[np.ndarray, ...]:
    """One vertex per pair of position and texture point: (vertex ids, uv ids, new faces)."""
    corners = np.stack((faces.reshape(-1), uv_faces.reshape(-1)), axis=1)
    pairs, corner_pair = np.unique(corners, axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], corner_pair.reshape(faces.shape)


def _build_mesh(
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    uv: np.ndarray | None,
    uv_faces: np.ndarray | None,
    color: Color,
) -> "trimesh.Trimesh":
    import trimesh
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    vertices = np.asarray(vertices_cam, np.float64) @ R_GLTF_CAM.T
    faces = np.asarray(faces, np.int64)
    normals = vertex_normals(torch.from_numpy(vertices), torch.from_numpy(faces)).numpy()
    if uv is not None:  # glTF knows one index per corner, so a seam needs its vertices twice
        points, texture, faces = _split_seams(faces, faces if uv_faces is None else uv_faces)
        vertices, normals, uv = vertices[points], normals[points], uv[texture]
    material = PBRMaterial(
        name="body",
        baseColorFactor=(*color, 255),
        metallicFactor=0.0,
        roughnessFactor=0.7,
        doubleSided=False,
    )
    return trimesh.Trimesh(
        vertices=vertices,
        faces=faces,
        vertex_normals=normals,
        visual=TextureVisuals(uv=uv, material=material),
        process=False,  # keep the vertex order
    )


def save_mesh(
    path: str | Path,
    vertices_cam: Float[np.ndarray, "*people V 3"],
    faces: Integer[np.ndarray, "F 3"],
    *,
    uv: Float[np.ndarray, "T 2"] | None = None,
    uv_faces: Integer[np.ndarray, "F 3"] | None = None,
    color: Color | Sequence[Color] = SKIN,
    name: str = "person",
) -> None:
    """Write one mesh as `.glb`, `.obj` or `.ply`, turned to y up and z towards the viewer, metres.

    Without `uv`, and always in `.ply`, the vertices keep their number and order. A `.glb` may hold
    several people, whose colours are taken in turn.

    Raises:
        InputError: for any other file name, or several people in another file.
    """
    path = Path(path)
    _check_suffix(path, MESH_SUFFIXES)
    kind = path.suffix.lower().removeprefix(".")
    if kind == "ply":
        uv = uv_faces = None
    people = vertices_cam.reshape(-1, *vertices_cam.shape[-2:])
    if kind != "glb" and len(people) != 1:
        raise InputError(f"a .{kind} file holds one person, not {len(people)}: give a .glb name.")
    colors: list[Any] = [color] if isinstance(color[0], int) else list(color)
    meshes = [
        _build_mesh(vertices, faces, uv, uv_faces, colors[number % len(colors)])
        for number, vertices in enumerate(people)
    ]
    with written_whole(path) as temporary:
        if kind == "glb":
            _export_scene(meshes, temporary, name)
        else:
            _export(meshes[0], temporary, kind, colors[0])


def _export_scene(meshes: Sequence["trimesh.Trimesh"], path: Path, name: str) -> None:
    import trimesh

    scene = trimesh.Scene()
    for number, mesh in enumerate(meshes):
        title = name if len(meshes) == 1 else f"{name}_{number}"
        scene.add_geometry(mesh, node_name=title, geom_name=title)
    scene.export(str(path), file_type="glb", include_normals=True)


def _export(mesh: "trimesh.Trimesh", path: Path, kind: str, color: Color) -> None:
    import trimesh

    if kind == "obj":  # one file only: a material would need a second one beside it
        mesh.export(str(path), file_type=kind, include_normals=True, write_texture=False)
    else:
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=(*color, 255))
        mesh.export(str(path), file_type=kind, vertex_normal=True)


def save_glb(
    path: str | Path,
    vertices_cam: Float[np.ndarray, "*people V 3"],
    faces: Integer[np.ndarray, "F 3"],
    *,
    uv: Float[np.ndarray, "T 2"] | None = None,
    uv_faces: Integer[np.ndarray, "F 3"] | None = None,
    color: Color | Sequence[Color] = SKIN,
    name: str = "person",
) -> None:
    """Write one or more people as binary glTF: y up, z to the viewer, metres, smooth normals.

    Raises:
        InputError: if the file name does not end in `.glb`.
    """
    _check_suffix(Path(path), (".glb",))
    save_mesh(path, vertices_cam, faces, uv=uv, uv_faces=uv_faces, color=color, name=name)


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write an RGB or grey 8-bit image as `.png` or `.jpg`, whole or not at all.

    Raises:
        InputError: for any other file name or array.
    """
    path = Path(path)
    _check_suffix(path, tuple(IMAGE_SUFFIXES))
    if image.dtype != np.uint8 or image.size == 0 or image.ndim not in (2, 3):
        raise InputError(
            f"expected an image as a uint8 array of shape (H, W) or (H, W, 3), found {image.dtype} "
            f"of shape {image.shape}: convert it, for example by (255 * image).astype(np.uint8)."
        )
    kind = IMAGE_SUFFIXES[path.suffix.lower()]
    picture = Image.fromarray(image)
    with written_whole(path) as temporary:
        picture.save(temporary, kind, quality=JPEG_QUALITY)


def save_animation(path: str | Path, frames: Sequence[np.ndarray], fps: float = 12.0) -> None:
    """Write RGB frames of one size as `.gif`, which repeats for ever, or as `.mp4`.

    Raises:
        InputError: for any other file name, frames or speed; or if OpenCV cannot write `.mp4`.
    """
    path = Path(path)
    _check_suffix(path, ANIMATION_SUFFIXES)
    _check_frames(frames)
    as_gif = path.suffix.lower() == ".gif"
    if not 0 < fps <= (GIF_MAX_FPS if as_gif else 1000):
        raise InputError(
            f"expected frames per second above 0 and up to {GIF_MAX_FPS:g} for GIF, found {fps}: "
            "12 is enough for a slow turn."
        )
    with written_whole(path) as temporary:
        (_write_gif if as_gif else _write_mp4)(temporary, frames, fps)


def _check_frames(frames: Sequence[np.ndarray]) -> None:
    kinds = sorted({(str(frame.dtype), *frame.shape) for frame in frames}, key=str)
    if len(kinds) != 1 or len(kinds[0]) != 4 or kinds[0][0] != "uint8" or kinds[0][3] != 3:
        raise InputError(
            f"expected frames of one shape (H, W, 3), uint8, found {kinds[:3] or 'none'}: give a "
            "list of pictures such as turntable() makes."
        )


def _write_gif(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    # One palette for all frames: with one each, still colours would flicker.
    some = np.concatenate(frames[:: max(1, len(frames) // 8)])
    palette = Image.fromarray(some).quantize(256)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    # GIF counts hundredths of a second; rounding the ends keeps the speed right on average.
    ends = np.rint(100 / fps * np.arange(len(frames) + 1)).astype(int)
    pictures[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=(10 * np.diff(ends)).tolist(),
        loop=0,
    )


def _write_mp4(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "writing .mp4 needs OpenCV, which is not installed: `pip install opencv-python`, or "
            "give a name that ends in .gif."
        ) from error
    height, width = frames[0].shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))  # the codecs want even sizes
    size = (width + width % 2, height + height % 2)
    for codec in VIDEO_CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            break
    else:
        raise InputError("this OpenCV cannot write .mp4: give a name that ends in .gif.")
    for frame in frames:
        writer.write(np.ascontiguousarray(np.pad(frame, odd, mode="edge")[..., ::-1]))
    writer.release()
