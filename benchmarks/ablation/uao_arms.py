"""What is compared: ways to know where the person is, and what the latent state obeys."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.ablation.uao_people import Judged, Piece
from meshreg.data.chance import chance
from meshreg.fit.roots import (
    RootRule,
    Sighting,
    direction_and_depth,
    given,
    likely,
    of_build,
    on_floor,
    scaled_like,
    solved,
    steady,
)
from meshreg.fit.uncertainty import first_answer, optimize_latent
from meshreg.geometry.lens import Lens
from meshreg.geometry.place_points import smoothed

EVERY = 8  # of a piece's frames one is scored
CAMERA_DEPTH, CAMERA_SIDE = 0.05, 0.005  # how far off the stand-in for a mesh's camera is, relative
OFF, OFF_SMOOTHED = "off", "off, poses averaged over 0.1 s"


@dataclass(frozen=True)
class Steps:
    """What the latent state obeys, for how long."""

    iters: int
    w_unc: float


PROJECTION, WEIGHTED = Steps(4, 0.0), Steps(4, 5e-3)
LONG_PROJECTION, LONG_WEIGHTED = Steps(16, 0.0), Steps(16, 5e-3)
WITH_BOTH = ("true", "solved", "steady", "steady, floor known")  # projection alone as well
LONG = ("true", "steady")  # sixteen iterations as well
RULES = (
    *("true", "solved", "likely", "steady", "steady, stature", "steady, floor known"),
    *("steady, floor estimated", "steady, mesh camera", "true direction", "true depth"),
)
# Name of the arm -> how the root is known, what is obeyed
ARMS: dict[str, tuple[str, Steps]] = (
    {f"uncertainty, {rule}": (rule, WEIGHTED) for rule in RULES}
    | {f"projection, {rule}": (rule, PROJECTION) for rule in WITH_BOTH}
    | {f"16 uncertainty, {rule}": (rule, LONG_WEIGHTED) for rule in LONG}
    | {f"16 projection, {rule}": (rule, LONG_PROJECTION) for rule in LONG}
)
Rules = dict[str, Callable[[Piece, int], RootRule]]


def root_rules(template: Float[Tensor, " K"]) -> Rules:
    """Ways to know the root: the truth, and what can be had without it."""
    even = steady(likely)
    return {
        "true": lambda piece, _: _true(piece),
        "solved": lambda *_: solved,
        "likely": lambda *_: likely,
        "steady": lambda *_: even,
        "steady, stature": lambda *_: scaled_like(even, of_build(template)),
        "steady, floor known": lambda piece, _: scaled_like(even, on_floor(piece.floor)),
        "steady, floor estimated": lambda *_: direction_and_depth(even, on_floor()),
        "steady, mesh camera": lambda piece, number: scaled_like(
            even, given(inexact(piece.joints_cam[:, 0], number))
        ),
        "true direction": lambda piece, _: direction_and_depth(_true(piece), even),
        "true depth": lambda piece, _: direction_and_depth(even, _true(piece)),
    }


def _true(piece: Piece) -> RootRule:
    return given(piece.joints_cam[:, 0])


def inexact(root: Float[Tensor, "T 3"], number: int) -> Float[Tensor, "T 3"]:
    """A stand-in for the camera of a mesh: errors of its own that last for the piece."""
    off = torch.randn(3, generator=chance(7, number))
    depth = root[:, 2:] * torch.exp(CAMERA_DEPTH * off[0])
    ray = root[:, :2] / root[:, 2:] + CAMERA_SIDE * off[1:]
    return torch.cat([ray, torch.ones_like(depth)], 1) * depth


@dataclass(frozen=True, eq=False)
class Told:
    """What a network says of the judged people by itself."""

    sightings: tuple[Sighting, ...]  # one per piece

    def error(self, judged: Judged) -> Float[Tensor, "N J"]:
        """How far joints are off, metres."""
        pairs = zip(self.sightings, judged.pieces, strict=True)
        return torch.cat([(s.joints - p.poses).norm(dim=-1) for s, p in pairs])

    def scale(self) -> Float[Tensor, "N J"]:
        """How far the network expects them to be off."""
        return torch.cat([s.log_scale for s in self.sightings]).exp()


def told(network: nn.Module, judged: Judged) -> Told:
    """The first answers."""
    x = torch.cat([piece.x for piece in judged.pieces])
    said = first_answer(network, x, judged.joints)
    lengths = [len(piece.x) for piece in judged.pieces]
    parts = zip(
        judged.pieces,
        said.poses[:, 0].split(lengths),
        said.log_scale[:, 0].split(lengths),
        strict=True,
    )
    return Told(
        tuple(
            Sighting(
                poses,
                scale,
                piece.lens.directions(piece.x),
                torch.ones_like(scale),
                judged.joints,
                judged.fps,
            )
            for piece, poses, scale in parts
        )
    )


def errors_off(first: Told, judged: Judged) -> dict[str, Float[Tensor, " P"]]:
    """Of the first answers, and of the first answers averaged over time."""
    found: dict[str, list[Tensor]] = {OFF: [], OFF_SMOOTHED: []}
    for sighting, piece in zip(first.sightings, judged.pieces, strict=True):
        even = smoothed(sighting.joints.flatten(1), 0.1 * judged.fps).view_as(sighting.joints)
        for name, poses in ((OFF, sighting.joints), (OFF_SMOOTHED, even)):
            found[name].append(_mean_mm(poses[::EVERY], piece.poses[::EVERY]))
    return {name: torch.stack(values) for name, values in found.items()}


def errors_on(
    network: nn.Module,
    first: Told,
    judged: Judged,
    rule: Callable[[Piece, int], RootRule],
    s: Steps,
) -> dict[str, Float[Tensor, " P"]]:
    """Of refined poses, and how far off the root was: its depth, and its direction."""
    pairs = list(zip(first.sightings, judged.pieces, strict=True))
    roots = [rule(piece, k)(sighting)[::EVERY] for k, (sighting, piece) in enumerate(pairs)]
    lenses = [piece.lens.frames(slice(None, None, EVERY)) for piece in judged.pieces]
    refined = optimize_latent(
        network,
        torch.cat([piece.x[::EVERY] for piece in judged.pieces]),
        _joined(lenses),
        root=torch.cat(roots),
        iters=s.iters,
        w_unc=s.w_unc,
        batch_size=64,  # small networks fit the cache all the same
    )
    poses = refined.poses.split([len(root) for root in roots])
    true = [piece.joints_cam[::EVERY, 0] for piece in judged.pieces]
    depth = [((a - b)[:, 2] / b[:, 2]).abs().mean() for a, b in zip(roots, true, strict=True)]
    side = [
        (a[:, :2] / a[:, 2:] - b[:, :2] / b[:, 2:]).norm(dim=1).mean()
        for a, b in zip(roots, true, strict=True)
    ]
    return {
        "mpjpe_mm": torch.stack(
            [
                _mean_mm(own, piece.poses[::EVERY])
                for own, piece in zip(poses, judged.pieces, strict=True)
            ]
        ),
        "depth_percent": 100 * torch.stack(depth),
        "direction_percent": 100 * torch.stack(side),
    }


def _mean_mm(poses: Float[Tensor, "T J 3"], truth: Float[Tensor, "T J 3"]) -> Float[Tensor, ""]:
    return 1000 * (poses - truth).norm(dim=-1).mean()


def _joined(lenses: list[Lens]) -> Lens:
    return Lens(
        torch.cat([lens.focal for lens in lenses]),
        torch.cat([lens.centre for lens in lenses]),
        torch.cat([lens.radial for lens in lenses]),
        torch.cat([lens.tangential for lens in lenses]),
    )
