"""The files of `meshreg lift`: a skeleton in four forms, a film of it, and a moving body."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.options import LiftOptions
from meshreg.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from torch import Tensor

    from meshreg.body.smpl import Body
    from meshreg.data.bvh import Bvh
    from meshreg.data.skeleton_sequence import SkeletonSequence
    from meshreg.fit.skeleton import SkeletonFit

GIF_FPS = 50.0  # of GIFs; films faster than that are thinned out
MAX_GIF_FRAMES = 900  # more make files of dozens of megabytes
FILM_SIZE = (420, 420)
MESH_FPS = 15.0  # of body.gif
UNUSUAL_ERROR_MM = 30.0


@dataclass(frozen=True, eq=False)
class Moving:
    """A body that follows the skeleton."""

    body: "Body"
    fit: "SkeletonFit"


def write_results(
    options: LiftOptions,
    sequence: "SkeletonSequence",
    moving: Moving | None,
    console: "Console",
) -> None:
    """All files; pictures are drawn before the first is written."""
    from meshreg.data.bvh import save_bvh
    from meshreg.data.skeleton_bvh import bvh_of_skeleton
    from meshreg.data.skeleton_sequence import save_csv, save_sequence

    bvh = bvh_of_skeleton(sequence)
    film = _film(sequence)
    body_film = _body_film(sequence, moving) if moving and options.mesh_animation else []
    out = options.out
    save_sequence(out / "skeleton.npz", sequence)
    save_csv(out / "skeleton.csv", sequence)
    save_bvh(out / "skeleton.bvh", bvh)
    names = ["skeleton.npz", "skeleton.csv", "skeleton.bvh"]
    names += _write_film(out, film, sequence.fps, console)
    if moving is not None:
        names += _write_body(out, moving, sequence, body_film)
        error = 1000 * moving.fit.error
        console.print(
            f"body: its joints meet the skeleton within {float(error.mean()):.0f} mm on average, "
            f"{float(error.max()):.0f} mm in the worst frame"
        )
        if float(error.mean()) > UNUSUAL_ERROR_MM:
            console.print("warning: no body fits that skeleton well; look at skeleton.gif.")
    console.print(f"bvh: bones of constant length move joints by {_bvh_error_mm(bvh, sequence)}")
    console.print(f"camera, which tells where the person is: {sequence.camera_source}")
    console.print(f"wrote {', '.join(names)} to {out}")


def _bvh_error_mm(bvh: "Bvh", sequence: "SkeletonSequence") -> str:
    import torch

    from meshreg.data.skeleton_bvh import R_UP_CAM, positions_of_bvh

    there = torch.from_numpy(sequence.placed_cam).double() @ R_UP_CAM.T
    error = 1000 * (positions_of_bvh(bvh) - there).norm(dim=-1)
    return f"{float(error.mean()):.0f} mm on average"


def _film(sequence: "SkeletonSequence") -> "list[np.ndarray]":
    from meshreg.render.stick_figure import draw_stick_figures, side_colors

    tree = sequence.skeleton
    return draw_stick_figures(sequence.placed_cam, tree.bones, side_colors(tree.joints), FILM_SIZE)


def _write_film(out: Path, film: "list[np.ndarray]", fps: float, console: "Console") -> list[str]:
    """A GIF unless the clip is long, and an MP4 if OpenCV can; their names."""
    from meshreg.export import save_animation

    names = []
    step = math.ceil(fps / GIF_FPS)
    if len(film[::step]) <= MAX_GIF_FRAMES:
        save_animation(out / "skeleton.gif", film[::step], fps / step)
        names.append("skeleton.gif")
    else:
        console.print(f"note: no skeleton.gif of more than {MAX_GIF_FRAMES} frames.")
    try:
        save_animation(out / "skeleton.mp4", film, fps)
        names.append("skeleton.mp4")
    except InputError as error:
        console.print(f"note: no skeleton.mp4, for {error}")
    return names


def _body_film(sequence: "SkeletonSequence", moving: Moving) -> "list[np.ndarray]":
    from meshreg.render.views import draw_motion

    step = math.ceil(sequence.fps / MESH_FPS)
    return draw_motion(_vertices(moving, slice(None, None, step)), moving.body.faces, FILM_SIZE)


def _vertices(moving: Moving, frames: slice) -> "Tensor":
    import torch

    fit = moving.fit
    pose, transl = fit.pose_rotmat[frames], fit.transl[frames]
    with torch.no_grad():
        return moving.body(fit.betas.expand(len(pose), -1), pose, transl).vertices


def _write_body(
    out: Path, moving: Moving, sequence: "SkeletonSequence", film: "list[np.ndarray]"
) -> list[str]:
    from meshreg.data.amass_files import save_amass
    from meshreg.export import save_animation, save_glb

    fit, data = moving.fit, moving.body.data
    save_amass(
        out / "motion.npz", moving.body, fit.betas, fit.pose_rotmat, fit.transl, fps=sequence.fps
    )
    middle = len(sequence) // 2
    vertices = _vertices(moving, slice(middle, middle + 1))[0].numpy()
    uv, uv_faces = (data.uv, data.uv_faces) if len(data.uv) else (None, None)
    save_glb(out / "body.glb", vertices, data.faces, uv=uv, uv_faces=uv_faces)
    if film:
        save_animation(out / "body.gif", film, sequence.fps / math.ceil(sequence.fps / MESH_FPS))
    return ["motion.npz", "body.glb"] + ["body.gif"] * bool(film)
