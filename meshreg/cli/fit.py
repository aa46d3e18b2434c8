"""`meshreg fit`: picture and keypoints in; overlay, mesh and numbers out."""

from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.camera import camera_line, chosen_camera
from meshreg.cli.options import FitOptions
from meshreg.errors import InputError
from meshreg.files import check_writable
from meshreg.fit.settings import FitSettings

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from meshreg.body.smpl import Body
    from meshreg.data.keypoints import Keypoints
    from meshreg.export import FitRecord
    from meshreg.fit.smplify import BodyFit, BodyFitter
    from meshreg.fit.trust import TrustingFitter
    from meshreg.geometry.cameras import Camera

PANEL_PX = 640  # height of the panels of overlay.png
SUSPICIOUS_ERROR = 0.05  # of the person's size; a good fit has less than a fifth of it
SIDE_COLORS = {"left": (70, 150, 255), "right": (255, 130, 40)}
MIDDLE = (255, 214, 64)
TURNTABLE_SIZE = (480, 360)  # height and width of turntable.gif
TURNTABLE_SECONDS = 3.0  # once around


def run_fit(options: FitOptions) -> None:
    """Read, fit, write, report."""
    from rich.console import Console

    from meshreg.data.images import read_image
    from meshreg.data.keypoints import read_keypoints

    if options.keypoints is None:
        raise InputError("give the person's 2D joints with --keypoints FILE.json (COCO, OpenPose).")
    image = read_image(options.image)
    size = image.shape[0], image.shape[1]
    keypoints = read_keypoints(
        options.keypoints, size, image_name=options.image.name, person=options.person
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    labels = _labels(options, size, console)
    camera = chosen_camera(options, size, options.image)
    check_writable(options.out)  # before the work rather than after it
    fitter = _fitter(options)
    fit = _fit_with_progress(fitter, keypoints, camera, labels, console)
    record = _record(fit, fitter.body, keypoints, camera)
    _write(options.out, image, keypoints, fit, fitter.body, record)
    if options.turntable:
        _write_turntable(options.out, fit, fitter.body)
    _report(console, options, fit, camera)


def _labels(options: FitOptions, size: tuple[int, int], console: "Console") -> "np.ndarray | None":
    """The label map, if there is one; what its scheme cannot say is told."""
    from meshreg.clothing.schemes import find_scheme
    from meshreg.data.labels import read_labels

    if options.semantics is None:
        if options.scheme != FitOptions.scheme:
            raise InputError(
                f"--scheme {options.scheme} says what a label map means, but there is none: give "
                "it with --semantics, or leave out --scheme."
            )
        return None
    labels = read_labels(options.semantics, size, scheme=options.scheme)
    if remark := find_scheme(options.scheme).remark:
        console.print(f"note: {remark}.")
    return labels


def _fitter(options: FitOptions) -> "BodyFitter":
    from meshreg.body.smpl import load_body

    return body_fitter(load_body(options.body, folder=options.folder), options.settings)


def body_fitter(body: "Body", settings: FitSettings) -> "BodyFitter":
    """The fit with the shipped prior and the default rasteriser."""
    from meshreg.fit.smplify import BodyFitter
    from meshreg.losses.priors import load_pose_prior
    from meshreg.render.rasterizer import rasterizer

    prior, bank = load_pose_prior()
    return BodyFitter(body=body, prior=prior, bank=bank, rasterizer=rasterizer(), settings=settings)


def trusting_fitter(body: "Body", settings: FitSettings) -> "TrustingFitter":
    """The fit for networks that know how sure they are, with the shipped prior and its poses."""
    from meshreg.fit.trust import TrustingFitter
    from meshreg.losses.priors import load_pose_prior

    prior, bank = load_pose_prior()
    return TrustingFitter(body=body, prior=prior, bank=bank, settings=settings)


def _fit_with_progress(
    fitter: "BodyFitter",
    keypoints: "Keypoints",
    camera: "Camera",
    labels: "np.ndarray | None",
    console: "Console",
) -> "BodyFit":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    steps = fitter.settings.steps
    columns = TextColumn("fit"), TextColumn("{task.description:>7}"), BarColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        total = fitter.settings.total_steps - (steps[3] if labels is None else 0)
        task = progress.add_task("search", total=total)
        return fitter(
            keypoints,
            camera,
            labels,
            on_step=lambda stage: progress.update(task, advance=1, description=stage),
        )


def _record(fit: "BodyFit", body: "Body", keypoints: "Keypoints", camera: "Camera") -> "FitRecord":
    from meshreg.body.skeleton import SKELETONS
    from meshreg.export import FitRecord

    return FitRecord(
        body=body.data.name,
        topology_hash=body.topology_hash,
        betas=fit.betas.numpy(),
        body_pose=fit.body_pose.numpy(),
        global_orient=fit.global_orient.numpy(),
        transl=fit.transl.numpy(),
        pose_rotmat=fit.pose_rotmat.numpy(),
        vertices_cam=fit.vertices_cam.numpy(),
        joints_cam=fit.joints_cam.numpy(),
        joint_names=SKELETONS["smpl24"].joints,
        K=camera.K.numpy(),
        K_source=camera.source,
        image_size=camera.size,
        keypoint_names=SKELETONS[keypoints.skeleton].joints,
        keypoints_px=keypoints.points_px,
        keypoints_confidence=keypoints.confidence,
        reprojection_px=fit.reprojection_px.numpy(),
        silhouette_iou=fit.silhouette_iou,
    )


def _write(
    folder: Path,
    image: "np.ndarray",
    keypoints: "Keypoints",
    fit: "BodyFit",
    body: "Body",
    record: "FitRecord",
) -> None:
    from meshreg.export import save_glb, save_image, save_npz

    save_npz(folder / "result.npz", record)
    data = body.data
    uv, uv_faces = (data.uv, data.uv_faces) if len(data.uv) else (None, None)
    save_glb(folder / "person.glb", record.vertices_cam, data.faces, uv=uv, uv_faces=uv_faces)
    save_image(folder / "overlay.png", overlay_sheet(image, keypoints, fit, body, record.K))


def overlay_sheet(
    image: "np.ndarray", keypoints: "Keypoints", fit: "BodyFit", body: "Body", K: "np.ndarray"
) -> "np.ndarray":
    """Photo with keypoints (the person's left blue, right orange), with the body, side view."""
    import torch

    from meshreg.body.skeleton import SKELETONS
    from meshreg.render.annotate import contact_sheet, draw_keypoints
    from meshreg.render.overlay import draw_overlay, draw_view

    skeleton = SKELETONS[keypoints.skeleton]
    colors = [SIDE_COLORS.get(name.partition("_")[0], MIDDLE) for name in skeleton.joints]
    photo = draw_keypoints(
        image, keypoints.points_px, keypoints.confidence, skeleton.bones, color=colors
    )
    overlay = draw_overlay(image, fit.vertices_cam, body.faces, torch.from_numpy(K))
    side = draw_view(fit.vertices_cam, body.faces, (PANEL_PX, PANEL_PX * 3 // 4), azimuth_deg=90.0)
    titles = ("photo and keypoints", "fitted body", "from the side")
    return contact_sheet([photo, overlay, side], titles=titles, height=PANEL_PX)


def _write_turntable(folder: Path, fit: "BodyFit", body: "Body") -> None:
    from meshreg.export import save_animation
    from meshreg.render.views import turntable

    frames = turntable(fit.vertices_cam, body.faces, TURNTABLE_SIZE)
    save_animation(folder / "turntable.gif", frames, fps=len(frames) / TURNTABLE_SECONDS)


def _report(console: "Console", options: FitOptions, fit: "BodyFit", camera: "Camera") -> None:
    console.print(camera_line(camera))
    console.print(f"reprojection error: {fit.error_px:.1f} px")
    if fit.error_px > SUSPICIOUS_ERROR * fit.person_px:
        console.print(
            f"warning: that is {fit.error_px / fit.person_px:.0%} of the person's size; joints, "
            "camera and picture may not belong together."
        )
    if fit.silhouette_iou == fit.silhouette_iou:  # NaN without a mask
        console.print(f"silhouette IoU: {fit.silhouette_iou:.3f}")
    names = "overlay.png, person.glb, result.npz" + ", turntable.gif" * options.turntable
    console.print(f"wrote {names} to {options.out}", soft_wrap=True)
