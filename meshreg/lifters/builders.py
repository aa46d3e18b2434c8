"""Every lifter by name, and what a file has to say so that it can be built again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.errors import InputError
from meshreg.lifters.baselines import mlp_baseline, tcn_baseline
from meshreg.lifters.convformer import convformer
from meshreg.lifters.gla_gcn import gla_gcn
from meshreg.lifters.hot import hot_mixste, tpc_mixste
from meshreg.lifters.ktpformer import ktpformer
from meshreg.lifters.mhformer import mhformer, tpc_mhformer
from meshreg.lifters.mixste import mixste
from meshreg.lifters.motionbert import hot_motionbert, motionbert
from meshreg.lifters.uao import uao

LIFTERS: dict[str, Callable[..., nn.Module]] = {
    "mixste": mixste,
    "ktpformer": ktpformer,
    "hot_mixste": hot_mixste,
    "tpc_mixste": tpc_mixste,
    "motionbert": motionbert,
    "hot_motionbert": hot_motionbert,
    "mhformer": mhformer,
    "tpc_mhformer": tpc_mhformer,
    "convformer": convformer,
    "gla_gcn": gla_gcn,
    "tcn_baseline": tcn_baseline,
    "mlp_baseline": mlp_baseline,
    "uao": uao,
}
_WITH_BONES = ("ktpformer", "gla_gcn", "uao")  # these know which joints are linked


@dataclass(frozen=True)
class LifterSpec:
    """Everything that decides which weights a lifter has."""

    builder: str  # key of `LIFTERS`
    frames: int = 243  # of a window
    joint_set: str = "h36m17"
    options: dict[str, Any] = field(default_factory=dict)  # other arguments of the builder

    @property
    def joints(self) -> Skeleton:
        return skeleton(self.joint_set)


def build_lifter(spec: LifterSpec) -> nn.Module:
    """A lifter with random weights.

    Raises:
        InputError: if there is no such lifter or joint set, or the options do not suit it.
    """
    if spec.builder not in LIFTERS:
        raise InputError(f"{spec.builder!r} is not a lifter: choose from {', '.join(LIFTERS)}.")
    joints = spec.joints
    named: dict[str, Any] = (
        {"joint_set": joints} if spec.builder in _WITH_BONES else {"num_joints": len(joints)}
    )
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in spec.options.items()
    }
    try:
        return LIFTERS[spec.builder](frames=spec.frames, **named, **options)
    except TypeError as error:
        raise InputError(f"the options do not suit {spec.builder} ({error}).") from error
