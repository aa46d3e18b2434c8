"""Measuring lifters on whole clips, by rules that are named and printed with the numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton
from meshreg.data.lifting import LiftingClip, LiftingData, from_root
from meshreg.errors import InputError
from meshreg.lifters.lifting import clip_sizes, lift
from meshreg.metrics import auc, mpjpe, n_mpjpe, pa_mpjpe, pck

Average = Literal["actions", "sequences", "frames"]
_AVERAGES = {
    "actions": "frames of an action together, then the plain mean of the actions",
    "sequences": "the plain mean of the sequences",
    "frames": "all frames alike",
}


@dataclass(frozen=True)
class LiftingProtocol:
    """Everything that decides what a number means."""

    name: str
    summary: str
    average: Average
    keep_root: bool = True  # the predicted root counts as one of the joints, else it is zero
    by_subject: bool = False  # an action of each subject is one of its own
    measures: tuple[str, ...] = ("mpjpe_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm")
    unscored: tuple[str, ...] = ()  # joints that do not count for PCK and AUC
    remark: str = ""

    def card(self) -> list[str]:
        """The rules in sentences."""
        root = (
            "as predicted, and counts as a joint"
            if self.keep_root
            else "set to zero in prediction and truth, and counts as a joint without error"
        )
        lines = [
            f"{self.name}: {self.summary}",
            "mpjpe_mm (Protocol 1): mean distance of joints from the root, millimetres",
            "pa_mpjpe_mm (Protocol 2): after rotation, scale and shift of each pose",
            "n_mpjpe_mm (Protocol 3): after scaling each pose",
            "mpjve_mm: velocities within clips, millimetres per frame; also called Protocol 3",
            f"root joint: {root}",
            f"mean: {_AVERAGES[self.average]}",
        ]
        if "pck150" in self.measures:
            left_out = ", ".join(self.unscored)
            lines.append(
                f"pck150, auc150: share below 150 mm, mean over 0, 5 ... 150 mm, "
                f"of all joints but {left_out}"
            )
        return [*lines, self.remark] if self.remark else lines


_3DHP = ("mpjpe_mm", "pck150", "auc150", "mpjve_mm")
_UNSCORED = ("pelvis", "spine_3dhp", "head_3dhp")
PROTOCOLS: dict[str, LiftingProtocol] = {
    protocol.name: protocol
    for protocol in (
        LiftingProtocol(
            name="lift-h36m",
            summary="Human3.6M, subjects S9 and S11, as MixSTE, KTPFormer and GLA-GCN measure",
            average="actions",
        ),
        LiftingProtocol(
            name="lift-h36m-root0",
            summary="Human3.6M, subjects S9 and S11, as HoT and MHFormer measure",
            average="actions",
            keep_root=False,
            remark="one of 17 joints has no error by definition: up to 6 % less than lift-h36m",
        ),
        LiftingProtocol(
            name="lift-humaneva",
            summary="HumanEva-I, each action of each subject",
            average="actions",
            by_subject=True,
            remark="papers give pa_mpjpe_mm",
        ),
        LiftingProtocol(
            name="lift-3dhp",
            summary="MPI-INF-3DHP test, valid frames, as P-STMO and GLA-GCN measure",
            average="frames",
            keep_root=False,
            measures=_3DHP,
            unscored=_UNSCORED,
        ),
        LiftingProtocol(
            name="lift-3dhp-sequences",
            summary="MPI-INF-3DHP test, valid frames, as D3DP and FinePOSE measure",
            average="sequences",
            keep_root=False,
            measures=_3DHP,
            unscored=_UNSCORED,
        ),
        LiftingProtocol(
            name="lift-motion",
            summary="motion of people not trained on, from random cameras",
            average="actions",
            remark="actions are the categories of the motion file",
        ),
    )
}


def find_lifting_protocol(name: str) -> LiftingProtocol:
    """The rules of that name.

    Raises:
        InputError: if there are none.
    """
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {list(PROTOCOLS)}."
        raise InputError(f"{name!r} is not a protocol for lifters: {hint}")
    return PROTOCOLS[name]


@dataclass(frozen=True, eq=False)
class LiftingEvaluation:
    """What came out, by action and on average."""

    protocol: LiftingProtocol
    actions: dict[str, dict[str, float]]  # action -> measure -> mean
    means: dict[str, float]  # by measure, as the protocol averages
    num_frames: int
    num_clips: int
    about: dict[str, str]  # model, data: in words


def evaluate_lifter(  # noqa: PLR0913
    network: nn.Module,
    data: LiftingData,
    protocol: LiftingProtocol | str,
    *,
    flip: bool = True,
    batch_size: int = 32,
    about: Mapping[str, str] | None = None,
    on_clip: Callable[[LiftingClip], None] = lambda clip: None,
) -> LiftingEvaluation:
    """Lift every clip and measure it.

    Raises:
        InputError: if there are no clips, or they have other joints than the network.
    """
    rules = find_lifting_protocol(protocol) if isinstance(protocol, str) else protocol
    if not data.clips:
        raise InputError(f"{data.source} has no clips to measure: choose other subjects.")
    wanted = clip_sizes(network).num_joints
    if wanted != len(data.joints):
        raise InputError(
            f"this lifter takes {wanted} joints, but {data.source} has the {len(data.joints)} of "
            f"{data.joints.name}: give data with the joints it was trained on."
        )
    rows: list[tuple[LiftingClip, dict[str, Tensor]]] = []
    for clip in data.clips:
        poses = lift(
            network,
            clip.keypoints_px,
            clip.size,
            joint_set=data.joints,
            flip=flip,
            keep_root=rules.keep_root,
            batch_size=batch_size,
        )
        rows.append((clip, measured(poses, clip, data.joints, rules)))
        on_clip(clip)
    groups = {clip: _group(clip, rules) for clip, _ in rows}
    actions = {
        name: _means([values for clip, values in rows if groups[clip] == name])
        for name in dict.fromkeys(groups.values())
    }
    return LiftingEvaluation(
        protocol=rules,
        actions=actions,
        means=_averaged([values for _, values in rows], actions, rules.average),
        num_frames=sum(len(values["mpjpe_mm"]) for _, values in rows),
        num_clips=len(rows),
        about={"flip": "averaged with the mirrored clip" if flip else "no", **(about or {})},
    )


def measured(
    poses: Float[Tensor, "T J 3"], clip: LiftingClip, joints: Skeleton, rules: LiftingProtocol
) -> dict[str, Float[Tensor, " _"]]:
    """Every measure of every scored frame (velocities: of every pair of frames that follow)."""
    truth = from_root(clip.joints_cam.to(poses), joints)
    if not rules.keep_root:
        poses = from_root(poses, joints)
    scored = torch.ones(len(clip), dtype=torch.bool) if clip.scored is None else clip.scored
    pairs = scored[1:] & scored[:-1]
    counted = [i for i, name in enumerate(joints.joints) if name not in rules.unscored]
    one, other = poses[scored], truth[scored]
    change = 1000 * (poses.diff(dim=0) - truth.diff(dim=0)).norm(dim=-1).mean(-1)
    found: dict[str, Callable[[], Tensor]] = {
        "mpjpe_mm": lambda: 1000 * mpjpe(one, other),
        "pa_mpjpe_mm": lambda: 1000 * pa_mpjpe(one, other),
        "n_mpjpe_mm": lambda: 1000 * n_mpjpe(one, other),
        "mpjve_mm": lambda: change[pairs],
        "pck150": lambda: 100 * pck(one[:, counted], other[:, counted]),
        "auc150": lambda: 100 * auc(one[:, counted], other[:, counted]),
    }
    return {name: found[name]() for name in rules.measures}


def _group(clip: LiftingClip, rules: LiftingProtocol) -> str:
    """The action that a clip's numbers belong to: the first word, as VideoPose3D has it."""
    action = clip.action.split(" ")[0]
    return f"{clip.subject.split('/')[-1]} {action}" if rules.by_subject else action


def _means(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """Frames of all parts together."""
    pooled = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: float(v.mean()) if len(v) else float("nan") for name, v in pooled.items()}


def _averaged(
    parts: list[dict[str, Tensor]], actions: dict[str, dict[str, float]], average: Average
) -> dict[str, float]:
    if average == "frames":
        return _means(parts)
    rows = list(actions.values()) if average == "actions" else [_means([part]) for part in parts]
    return {name: float(torch.tensor([row[name] for row in rows]).nanmean()) for name in rows[0]}
