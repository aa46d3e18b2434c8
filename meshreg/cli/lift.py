"""`meshreg lift`: 2D joints over time in; a 3D skeleton and a moving body out."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.device import check_device
from meshreg.cli.lift_options import RefinedLiftOptions
from meshreg.cli.lift_refine import check_refinement, refined_joints
from meshreg.cli.options import LiftOptions
from meshreg.errors import InputError
from meshreg.files import check_writable

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor, nn

    from meshreg.cli.lift_files import Moving
    from meshreg.data.keypoint_clips import KeypointClip
    from meshreg.data.lifter_input import LifterInput
    from meshreg.data.skeleton_sequence import SkeletonSequence
    from meshreg.data.tracks import Track
    from meshreg.geometry.cameras import Camera

ASSUMED_FPS = 30.0
SMOOTH_SECONDS = 0.1  # how far the person's place, not the pose, is averaged over time
MAX_FPS = 240.0
NUM_JOINTS = 17
WINDOWS_PER_FRAME = 3  # that are averaged, of lifters of whole sequences
SAME_RATE = 0.2  # share by which rates differ before a clip is resampled for the lifter


@dataclass(frozen=True)
class Rates:
    """Frames per second."""

    film: float
    trained: float | None  # of the clips that the lifter learned from; None: nobody knows

    @property
    def lifted(self) -> float:
        """That of the clip which the lifter sees: its own, if the film's is quite another one."""
        if self.trained is None or abs(self.film / self.trained - 1) <= SAME_RATE:
            return self.film
        return self.trained

    def steps(self, length: int) -> "Tensor":
        """Which moments of the film, in frames, the lifter sees."""
        from meshreg.geometry.time_steps import steps_at_rate

        return steps_at_rate(length, self.film, self.lifted)

    def back(self, length: int) -> "Tensor":
        """Where the film's frames are among those moments."""
        import torch

        return torch.linspace(0, len(self.steps(length)) - 1, length, dtype=torch.float64)


def run_lift(options: RefinedLiftOptions) -> None:
    """Read, lift, fit, write, report; everything is computed before the first file is written."""
    from rich.console import Console

    from meshreg.cli.lift_files import write_results
    from meshreg.data.keypoint_clips import read_clip
    from meshreg.data.lifter_input import lifter_input
    from meshreg.data.tracks import chosen_track, tracks_of

    _check_options(options)
    check_refinement(options)
    check_device(options.device)
    clip = read_clip(options.keypoints, joint_set=options.joint_set)
    size = _picture_size(options, clip)
    camera = _camera(options, size)
    tracks = tracks_of(clip)
    track = chosen_track(tracks, options.person)
    known = lifter_input(track, size, min_confidence=options.min_confidence)
    network, trained_fps = load_network(options)
    check_writable(options.out)  # before the work rather than after it
    console = Console(highlight=False, markup=False, soft_wrap=True)
    fps, fps_source = _fps(options, clip)
    rates = Rates(fps, trained_fps)
    if options.refine == "none":
        joints = _lifted(options, network, known, camera, rates)
    else:
        joints = refined_joints(options, network, known, camera, fps)
    sequence = _placed(joints, known, track, camera, fps)
    moving = _body_motion(options, sequence, console) if options.mesh else None
    _report(console, options, track, known, len(tracks), fps_source)
    write_results(options, sequence, moving, console)


# --- before the work ------------------------------------------------------------------------------
def _check_options(options: LiftOptions) -> None:
    ways = {"camera": options.camera, "focal": options.focal, "fov": options.fov}
    given = [f"--{name}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other: give only one of them.")
    if options.fps is not None and not 0 < options.fps <= MAX_FPS:
        raise InputError(f"expected --fps above 0 and up to {MAX_FPS:g}, found {options.fps:g}.")
    if not 0 <= options.min_confidence <= 1:
        raise InputError(
            f"expected --min-confidence from 0 to 1, found {options.min_confidence:g}."
        )
    if options.mesh_animation and not options.mesh:
        raise InputError("--mesh-animation shows the body that --mesh false leaves out.")


def _picture_size(options: LiftOptions, clip: "KeypointClip") -> tuple[int, int]:
    """Height and width: as given, as in the keypoints' file, or as in the camera's."""
    given = None
    if options.size is not None:
        found = re.fullmatch(r"\s*(\d+)\s*[xX,]\s*(\d+)\s*", options.size)
        if not found or min(int(side) for side in found.groups()) < 1:
            raise InputError(f"expected --size such as 1920x1080, found {options.size!r}.")
        given = int(found[2]), int(found[1])
    if given and clip.size and given != clip.size:
        raise InputError(
            f"--size says {given[1]}x{given[0]}, but {options.keypoints} is about pictures of "
            f"{clip.size[1]}x{clip.size[0]}: leave out --size, or correct it."
        )
    size = given or clip.size or _calibrated_size(options.camera)
    if size is None:
        raise InputError(
            f"{options.keypoints} does not say how large its pictures are: give --size, such as "
            "1920x1080."
        )
    return size


def _calibrated_size(path: Path | None) -> tuple[int, int] | None:
    from meshreg.data.calibration import calibrated_size, parse_calibration

    if path is None or not path.is_file():
        return None
    try:
        height, width = calibrated_size(parse_calibration(path.read_text(encoding="utf-8-sig")))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None  # reading the camera says what is wrong
    return (height, width) if height and width else None


def _camera(options: LiftOptions, size: tuple[int, int]) -> "Camera":
    from meshreg.data.camera_files import read_camera
    from meshreg.geometry.cameras import camera_from_focal, camera_from_fov, guess_camera

    if options.camera is not None:
        return read_camera(options.camera, size)
    if options.focal is not None:
        return camera_from_focal(options.focal, size)
    if options.fov is not None:
        return camera_from_fov(options.fov, size, axis=options.fov_axis)
    return guess_camera(size)


def _fps(options: LiftOptions, clip: "KeypointClip") -> tuple[float, str]:
    if options.fps is not None:
        return options.fps, "as given"
    if clip.fps is not None and 0 < clip.fps <= MAX_FPS:
        return clip.fps, "as in the file"
    return ASSUMED_FPS, "assumed; give --fps if the film is faster or slower"


def load_network(options: LiftOptions) -> "tuple[nn.Module, float | None]":
    """The lifter of --model on --device, and the frames per second it was trained for, if told.

    Raises:
        MissingFileError: if it is no file and no lifter that comes with meshreg.
        InputError: if the file is damaged, of something else, or of a lifter of other joints.
    """
    from meshreg.lifters.checkpoint import load_lifter
    from meshreg.lifters.lifting import clip_sizes
    from meshreg.lifters.recognise import released_lifter
    from meshreg.lifters.shipped import find_lifter
    from meshreg.models.torch_files import read_torch_file

    path = find_lifter(options.model)
    fps: float | None = None
    if path.suffix.lower() == ".safetensors":
        network, header = load_lifter(path)
        fps = header.fps
    else:
        network = released_lifter(read_torch_file(path), options.architecture)
    if (count := clip_sizes(network).num_joints) != NUM_JOINTS:
        raise InputError(f"{path} is a lifter of {count} joints: give one of Human3.6M's 17.")
    return network.to(options.device), fps


# --- the work -------------------------------------------------------------------------------------
def _lifted(
    options: RefinedLiftOptions,
    network: "nn.Module",
    known: "LifterInput",
    camera: "Camera",
    rates: Rates,
) -> "Tensor":
    """The skeleton of every frame of the film, metres from the root joint."""
    import torch

    from meshreg.geometry.time_steps import sampled_at
    from meshreg.lifters.lifting import clip_sizes, lift

    sizes = clip_sizes(network)
    overlaps = options.overlap and sizes.predicts == "sequence"
    points = torch.from_numpy(known.keypoints_px)
    confidence = torch.from_numpy(known.confidence)
    taken = rates.steps(len(points))
    joints = lift(
        network,
        sampled_at(points, taken),
        camera.size,
        confidence=sampled_at(confidence, taken),
        flip=options.flip,
        stride=max(1, sizes.frames // WINDOWS_PER_FRAME) if overlaps else None,
    ).float()
    return sampled_at(joints, rates.back(len(points)))


def _placed(
    joints: "Tensor", known: "LifterInput", track: "Track", camera: "Camera", fps: float
) -> "SkeletonSequence":
    """The skeleton where the camera says it is."""
    import torch

    from meshreg.data.lifter_input import H36M
    from meshreg.data.skeleton_sequence import SkeletonSequence, check_sequence
    from meshreg.geometry.place_points import smoothed, translation_from_pixels

    points = torch.from_numpy(known.keypoints_px)
    # Filled gaps count a little: a frame without any joint needs a place, too. Only joints that all
    # joint sets agree about count, for spine and head may be built by a rule.
    limbs = torch.tensor([i != j for i, j in enumerate(H36M.flip)])
    weight = torch.from_numpy(known.confidence).clamp_min(0.01) * limbs
    root = translation_from_pixels(joints, points, camera.K, weight)
    sequence = SkeletonSequence(
        joints_cam=joints.numpy(),
        root_cam=smoothed(root, SMOOTH_SECONDS * fps).numpy(),
        fps=float(fps),
        camera_source=camera.source,
        start_frame=track.start,
    )
    check_sequence(sequence)
    return sequence


def _body_motion(
    options: LiftOptions, sequence: "SkeletonSequence", console: "Console"
) -> "Moving":
    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from meshreg.body.smpl import load_body
    from meshreg.cli.lift_files import Moving
    from meshreg.fit.skeleton import fit_skeleton, num_steps

    body = load_body(options.body, folder=options.folder)
    joints = torch.from_numpy(sequence.placed_cam)
    columns = TextColumn("body"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("body", total=num_steps(len(joints)))
        fit = fit_skeleton(body, joints, on_step=lambda: progress.update(task, advance=1))
    return Moving(body, fit)


def _report(  # noqa: PLR0913
    console: "Console",
    options: LiftOptions,
    track: "Track",
    known: "LifterInput",
    people: int,
    fps_source: str,
) -> None:
    from meshreg.lifters.shipped import DEFAULT, find_lifter

    length = len(track.points_px)
    who = f"person {track.person or 0}" + (f" of {people}" if people > 1 else "")
    frames = f"{length} frame" if length == 1 else f"{length} frames"
    console.print(
        f"{who}: {frames} from frame {track.start}, seen in {track.num_seen}; joints of "
        f"{track.joints.name}"
    )
    lifter = find_lifter(options.model).stem if options.model == DEFAULT else options.model
    console.print(f"lifter: {lifter}")
    console.print(f"frames per second: {fps_source}")
    for remark in known.remarks:
        console.print(f"warning: {remark}.")
