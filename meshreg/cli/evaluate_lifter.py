"""`meshreg evaluate` for lifters: whole clips, measured by a protocol whose name begins "lift-"."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from meshreg.cli.device import check_device
from meshreg.cli.options import EvaluateOptions
from meshreg.errors import InputError, MissingFileError
from meshreg.files import check_writable, written_whole

if TYPE_CHECKING:
    from meshreg.data.lifting import LiftingData
    from meshreg.evaluate.lifting import LiftingEvaluation

FORMAT_VERSION = 1
_CAMERAS_SEED = 1_000_003  # the same cameras as while training, which learned from others


def run_evaluate_lifter(options: EvaluateOptions) -> None:
    """Load, lift, print, write."""
    from rich.console import Console

    from meshreg.evaluate.lifting import evaluate_lifter, find_lifting_protocol
    from meshreg.lifters.checkpoint import load_lifter
    from meshreg.lifters.shipped import find_lifter

    console = Console(highlight=False, markup=False, soft_wrap=True)
    protocol = find_lifting_protocol(options.protocol)
    check_device(options.device)
    check_writable(options.out)
    path = find_lifter(str(options.model))
    network, header = load_lifter(path)
    data = _chosen(_read(options, header.spec.joint_set), options)
    with console.status("lifting") as status:
        result = evaluate_lifter(
            network.to(options.device),
            data,
            protocol,
            flip=options.flip,
            batch_size=options.batch_size,
            about={"model": path.name, "data": data.source, "lifter": header.spec.builder},
            on_clip=lambda clip: status.update(f"lifted {clip.name}"),
        )
    console.print("\n".join(protocol.card()))
    for line in table(result):
        console.print(line)
    report = options.out / "results.json"
    with written_whole(report) as temporary:
        temporary.write_text(json.dumps(_record(result), indent=1) + "\n", "utf-8")
    console.print(f"wrote {report}: {result.num_clips} clips, {result.num_frames} frames")


def table(result: "LiftingEvaluation") -> list[str]:
    """One line for each action, then the mean."""
    measures = list(result.means)
    width = max(len(name) for name in [*result.actions, "mean"])
    lines = [f"{'':{width}}  " + "  ".join(f"{name:>12}" for name in measures)]
    for name, values in [*result.actions.items(), ("mean", result.means)]:
        numbers = "  ".join(f"{values[measure]:12.1f}" for measure in measures)
        lines.append(f"{name:{width}}  {numbers}")
    return [*lines, f"mirrored pass: {result.about['flip']}"]


def _record(result: "LiftingEvaluation") -> dict[str, object]:
    return {
        "format_version": FORMAT_VERSION,
        "protocol": asdict(result.protocol),
        "card": result.protocol.card(),
        "about": result.about,
        "num_clips": result.num_clips,
        "num_frames": result.num_frames,
        "actions": result.actions,
        "results": result.means,
    }


def _read(options: EvaluateOptions, joint_set: str) -> "LiftingData":
    """The clips that the protocol is about."""
    from meshreg.data.lifting_files import read_3dhp, read_videopose3d

    if not options.data.exists():
        raise MissingFileError(f"no data at {options.data}: give the file of the 3D joints.")
    if options.protocol == "lift-motion":
        return _of_motion(options, joint_set)
    if options.protocol.startswith("lift-3dhp"):
        return read_3dhp(options.data)
    if options.detections is None or options.cameras is None:
        raise InputError(
            f"{options.protocol} needs 2D joints and cameras: give --detections and --cameras."
        )
    return read_videopose3d(options.data, options.detections, options.cameras, joint_set=joint_set)


def _of_motion(options: EvaluateOptions, joint_set: str) -> "LiftingData":
    from meshreg.body.regressor import JointRegressor
    from meshreg.body.smpl import load_body
    from meshreg.data.lifting_motion import choose_subjects, seen_clips, world_clips
    from meshreg.data.lifting_settings import CLEAN, TYPICAL, CameraSettings
    from meshreg.data.motion_files import read_motion

    motion, body = read_motion(options.data), load_body()
    try:
        only = [int(name) for name in options.subjects.split(",") if name]
    except ValueError as error:
        raise InputError(f"subjects of motion are numbers, not {options.subjects}.") from error
    clips = world_clips(
        motion,
        body,
        JointRegressor.from_body(body.data, joint_set),
        clips=choose_subjects(motion, only=only or None),
    )
    noise = TYPICAL if options.noisy else CLEAN
    return seen_clips(
        clips, views=options.views, cameras=CameraSettings(), noise=noise, seed=_CAMERAS_SEED
    )


def _chosen(data: "LiftingData", options: EvaluateOptions) -> "LiftingData":
    """The clips of the subjects that were named, or that the protocol is about."""
    if options.protocol == "lift-motion":
        return data
    usual = {"lift-h36m": "S9,S11", "lift-h36m-root0": "S9,S11"}
    names = options.subjects or usual.get(options.protocol, "")
    if options.protocol.startswith("lift-3dhp") and not names:
        names = ",".join(dict.fromkeys(c.subject for c in data.clips if c.subject[:2] == "TS"))
    return data.of([name for name in names.split(",") if name]) if names else data
