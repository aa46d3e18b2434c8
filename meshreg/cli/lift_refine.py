"""`meshreg lift --refine uao`: the skeleton obeys the picture where the lifter is unsure."""

from typing import TYPE_CHECKING

from meshreg.cli.lift_options import RefinedLiftOptions
from meshreg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from meshreg.data.lifter_input import LifterInput
    from meshreg.fit.roots import RootRule
    from meshreg.geometry.cameras import Camera

MAX_ITERATIONS = 64  # far beyond what helps
MIN_STEADY = 5  # frames through which a parabola means something
_UNSEEN = 0.01  # confidence of joints that were put where gaps were


def check_refinement(options: RefinedLiftOptions) -> None:
    """Refuse what cannot be refined before any work is done.

    Raises:
        InputError: if the camera is not known, or the number of steps is none.
    """
    if options.refine == "none":
        if options.iterations != RefinedLiftOptions.iterations:
            raise InputError("--iterations are of --refine: add --refine uao, or leave them out.")
        return
    if options.camera is None and options.focal is None and options.fov is None:
        raise InputError(
            f"--refine {options.refine} projects the skeleton into the picture, so it needs the "
            "camera: give --camera, --focal or --fov."
        )
    if not 1 <= options.iterations <= MAX_ITERATIONS:
        raise InputError(
            f"expected --iterations from 1 to {MAX_ITERATIONS}, found {options.iterations}."
        )


def refined_joints(
    options: RefinedLiftOptions,
    network: "nn.Module",
    known: "LifterInput",
    camera: "Camera",
    fps: float,
) -> "Tensor":
    """Joints in metres from the root joint, (T, 17, 3), after test-time optimisation.

    Raises:
        InputError: if the lifter does not tell its uncertainty, or there are too few frames.
    """
    import torch

    from meshreg.fit.uncertainty import optimize_latent
    from meshreg.geometry.lens import lens_of_camera
    from meshreg.geometry.screen import to_screen

    points = torch.from_numpy(known.keypoints_px).float()
    if options.root == "steady" and len(points) < MIN_STEADY:
        raise InputError(
            f"--root steady needs {MIN_STEADY} frames or more, but there are {len(points)}: give "
            "--root likely."
        )
    x = to_screen(points, camera.size).to(options.device)
    refined = optimize_latent(
        network,
        x,
        lens_of_camera(camera, len(x)),
        root=_rule(options),
        iters=options.iterations,
        flip=options.flip,
        confidence=torch.from_numpy(known.confidence).clamp_min(_UNSEEN).to(x),
        fps=fps,
    )
    return refined.poses.cpu()


def _rule(options: RefinedLiftOptions) -> "RootRule":
    from meshreg.body.smpl import load_body
    from meshreg.data.lifter_input import H36M
    from meshreg.fit.roots import likely, of_build, scaled_like, solved, steady, template_lengths

    if options.root == "stature":
        return scaled_like(likely, of_build(template_lengths(load_body(), H36M)))
    return {"steady": steady(likely), "likely": likely, "solved": solved}[options.root]
