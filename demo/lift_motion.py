"""Lift a clip of known motion and draw what is seen, the truth, the lifted skeleton and a body.

Run: `python demo/lift_motion.py MOTION.npz [--clip NAME] [--model NAME] [--noisy] [--body none]
[--frames 90] [--out lifted.gif]`. A random camera looks at the built-in body that moves as the
file says. Skeletons stand where the person really is, so that only poses differ; the error is
printed. Blue is the person's left, orange the right.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.body.smpl import load_body
from meshreg.data.lifting import LiftingClip, from_root, root_of
from meshreg.data.lifting_motion import seen_clips, world_clips
from meshreg.data.lifting_settings import CLEAN, TYPICAL, CameraSettings
from meshreg.data.motion_files import read_motion
from meshreg.errors import InputError
from meshreg.export import save_animation
from meshreg.files import check_writable
from meshreg.fit.skeleton import fit_skeleton
from meshreg.lifters.checkpoint import load_lifter
from meshreg.lifters.lifting import lift
from meshreg.lifters.shipped import DEFAULT, find_lifter
from meshreg.metrics import mpjpe
from meshreg.render.annotate import PAPER, draw_keypoints
from meshreg.render.stick_figure import MIDDLE, draw_stick_figures, side_colors
from meshreg.render.views import draw_motion

JOINTS = "h36m17"
SIDE = 320  # pixels of each of the pictures side by side
DOT = 4.0
MARGIN = 0.12  # share of a picture that stays free on each side


def seen_clip(path: Path, name: str | None, frames: int, *, noisy: bool) -> LiftingClip:
    """A clip of the file, the first by default, before a random camera.

    Raises:
        InputError: if the file is faulty or has no such clip.
    """
    motion, body = read_motion(path), load_body()
    name = motion.names[0] if name is None else name
    if name not in motion.names:
        few = ", ".join(motion.names[:8])
        raise InputError(f"{path} has no clip {name!r}: choose one of its clips, such as {few}.")
    regressor = JointRegressor.from_body(body.data, JOINTS)
    clips = world_clips(motion, body, regressor, clips=[motion.names.index(name)])
    noise = TYPICAL if noisy else CLEAN
    (clip,) = seen_clips(clips, views=1, cameras=CameraSettings(), noise=noise, seed=1).clips
    return LiftingClip(
        keypoints_px=clip.keypoints_px[:frames],
        joints_cam=clip.joints_cam[:frames],
        size=clip.size,
        subject=clip.subject,
        action=clip.action,
        camera=clip.camera,
        fps=clip.fps,
    )


def pictures_of_joints(clip: LiftingClip, tree: Skeleton) -> list[np.ndarray]:
    """The 2D joints as the lifter gets them: the part of the picture where the person moves."""
    points = clip.keypoints_px.numpy()
    low, high = points.min((0, 1)), points.max((0, 1))
    scale = SIDE * (1 - 2 * MARGIN) / float((high - low).max())
    shift = SIDE / 2 - scale * (low + high) / 2
    paper = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
    pairs = [(parent, child) for child, parent in tree.bones]
    seen, colors = np.ones(len(tree)), side_colors(tree.joints)
    return [
        draw_keypoints(paper, scale * frame + shift, seen, pairs, color=colors, radius=DOT)
        for frame in points
    ]


def body_pictures(skeleton: Float[Tensor, "T 17 3"], name: str) -> list[np.ndarray]:
    """The body whose joints follow the skeleton."""
    body = load_body(name)
    fit = fit_skeleton(body, skeleton)
    with torch.no_grad():
        betas = fit.betas.expand(len(skeleton), -1)
        vertices = body(betas, fit.pose_rotmat, fit.transl).vertices
    return draw_motion(vertices, body.faces, (SIDE, SIDE))


def titled(pictures: list[np.ndarray], title: str) -> list[np.ndarray]:
    """The pictures with a word in the corner."""
    titled = []
    for picture in pictures:
        image = Image.fromarray(picture)
        ImageDraw.Draw(image).text((8, 6), title, fill=MIDDLE)
        titled.append(np.asarray(image))
    return titled


def film(clip: LiftingClip, poses: Float[Tensor, "T 17 3"], body: str) -> list[np.ndarray]:
    """All pictures of each frame side by side."""
    tree = skeleton(JOINTS)
    lifted = poses + clip.joints_cam[:, [root_of(tree)]]
    # Drawn as one clip, so that both are seen from the same place and at the same size.
    both = torch.cat([clip.joints_cam, lifted]).numpy()
    figures = draw_stick_figures(both, tree.bones, side_colors(tree.joints), (SIDE, SIDE))
    columns = [
        titled(pictures_of_joints(clip, tree), "seen"),
        titled(figures[: len(poses)], "true"),
        titled(figures[len(poses) :], "lifted"),
    ]
    if body != "none":
        columns.append(titled(body_pictures(lifted, body), "body"))
    return [np.concatenate(row, 1) for row in zip(*columns, strict=True)]


def main() -> int:
    """Read, lift, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--clip", help="name of a clip in the file; default the first")
    parser.add_argument("--model", default=DEFAULT, help="a shipped lifter's name, or a file")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--noisy", action="store_true", help="joints with a detector's errors")
    parser.add_argument("--body", default="builtin", help='a body\'s name or file, or "none"')
    parser.add_argument("--out", type=Path, default=Path("demo/out/lifted.gif"))
    args = parser.parse_args()
    try:
        if args.frames < 1:
            raise InputError(f"expected --frames of 1 or more, found {args.frames}.")
        check_writable(args.out.parent)
        network, _ = load_lifter(find_lifter(args.model))
        clip = seen_clip(args.motion, args.clip, args.frames, noisy=args.noisy)
        poses = lift(network, clip.keypoints_px, clip.size)
        save_animation(args.out, film(clip, poses, args.body), clip.fps)
    except InputError as error:
        sys.stderr.write(f"lift_motion: error: {error}\n")
        return 2
    tree = skeleton(JOINTS)
    error = 1000 * mpjpe(poses, from_root(clip.joints_cam, tree)).mean()
    print(f"{clip.camera}, {clip.action}: joints are {error:.0f} mm off; wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
