"""A fit that trusts every joint of a network's answer as far as the network can be trusted there.

Where a picture says much, the body follows the picture; elsewhere it stays as the network has it.
What the network saw, the body that it ended with, and joints that a detector found are independent
witnesses: their energies add, and each counts by the inverse of its scale. A network that is quite
wrong about how somebody stands cannot be mended from there, so where joints were found, a few poses
of a bank that explain them are tried as well; the lowest energy wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import Body
from meshreg.data.keypoints import Keypoints
from meshreg.errors import InputError
from meshreg.fit.evidence import SMALLEST_PERSON_PX, Target2D
from meshreg.fit.initialise import starting_points
from meshreg.fit.optimize import Stage, minimise, total
from meshreg.fit.settings import FitSettings
from meshreg.fit.smplify import FEWEST_JOINTS, one_thread
from meshreg.fit.variables import NEAREST, BodyVariables
from meshreg.geometry.cameras import project
from meshreg.losses.keypoints import joint_spread, robust_reprojection
from meshreg.losses.priors import PoseBank, PosePrior, shape_prior

_ROUND = 0.3  # scales: errors below count squared, larger ones by their size
LEAST_SPREAD = 0.003  # metres: the pelvis is where it is, and no joint is surer than this


@dataclass(frozen=True)
class TrustSettings:
    """How much the witnesses count; their joints err together, so they count less than their sum.

    Args:
        seen: Of the points that the network saw.
        first: Of the joints that the network ended with, seen from the pelvis.
        place: Of the distance that it ended with.
        found: Of joints that somebody else found.
        pose: Of the pose prior.
        turn: Per rad^2 off the rotations of the start, for twists that no joint shows.
        rivals: Bodies of a bank that explain found joints, tried beside the network's.
        handicap: By how much lower their energy must be, nats.
        steps: Optimisation steps, while found joints are thought to be less and more exact.
        speed: Factor on their sizes.
    """

    seen: float = 0.2
    first: float = 0.12
    place: float = 1.0
    found: float = 4.0
    pose: float = 1.0
    turn: float = 30.0
    rivals: int = 6
    handicap: float = 6.0
    steps: tuple[int, int, int] = (100, 50, 50)
    speed: float = 1.0


@dataclass(frozen=True, eq=False)
class Belief:
    """What a network says of some people, in pixels and the camera of their whole pictures.

    Scales are those of Laplace distributions: the mean absolute error of each coordinate.
    """

    K: Float[Tensor, "B 3 3"]
    points_px: Float[Tensor, "B 45 2"]  # where it saw the joints
    points_scale_px: Float[Tensor, "B 45"]
    joints_cam: Float[Tensor, "B 24 3"]  # of the body that it ended with, metres
    across: Float[Tensor, "B 24"]  # scale of their x and y from the pelvis, metres
    depth: Float[Tensor, "B 24"]  # the same of their z
    place: Float[Tensor, " B"]  # scale of the logarithm of the pelvis' depth

    def __len__(self) -> int:
        return len(self.K)

    def select(self, index: Int[Tensor, " N"]) -> "Belief":
        """What is said of some of the people."""
        return Belief(**{f.name: getattr(self, f.name)[index] for f in fields(Belief)})


def joined(beliefs: Sequence[Belief]) -> Belief:
    """Several beliefs as one batch."""
    return Belief(
        **{f.name: torch.cat([getattr(b, f.name) for b in beliefs]) for f in fields(Belief)}
    )


@dataclass(frozen=True, eq=False)
class Found:
    """2D joints of some people, who all have the same joint set; zero confidence: absent."""

    points: BodyKeypoints
    points_px: Float[Tensor, "B J 2"]
    confidence: Float[Tensor, "B J"]
    scale_px: Float[Tensor, " B"]  # the size of the person in the picture

    def select(self, index: Int[Tensor, " N"]) -> "Found":
        """The joints of some of the people."""
        names = "points_px", "confidence", "scale_px"
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def found_joints(body: Body, people: Sequence[Keypoints | None]) -> Found | None:
    """Detectors' joints as a batch, in which who has none has joints of no confidence.

    None if nobody has any.

    Raises:
        InputError: if they are of several joint sets.
    """
    known = [keypoints for keypoints in people if keypoints is not None]
    if not known:
        return None
    names = sorted({keypoints.skeleton for keypoints in known})
    if len(names) > 1:
        raise InputError(
            f"expected the joints of all people in one set, found {' and '.join(names)}: give them "
            "in one."
        )
    empty = torch.zeros(len(known[0].confidence))
    px = [torch.from_numpy(k.points_px) if k else empty[:, None].expand(-1, 2) for k in people]
    confidence = [torch.from_numpy(k.confidence) if k else empty for k in people]
    return Found(
        points=BodyKeypoints(body, names[0]),
        points_px=torch.stack(px).float(),
        confidence=torch.stack(confidence).float(),
        scale_px=torch.stack([_size(*pair) for pair in zip(px, confidence, strict=True)]),
    )


class TrustingFitter:
    """The fit of several people at once, each from a network's answer about them."""

    def __init__(
        self,
        *,
        body: Body,
        prior: PosePrior,
        bank: PoseBank | None = None,
        settings: FitSettings | None = None,
        trust: TrustSettings | None = None,
    ) -> None:
        """`settings` say how exact detectors are, and weigh shapes and limits.

        Without a bank every fit begins at the network's answer alone.
        """
        self.body, self.prior, self.bank = body, prior, bank
        self.settings, self.trust = settings or FitSettings(), trust or TrustSettings()
        self.landmarks = body.restricted_to(body.landmarks)

    def __call__(
        self, start: BodyVariables, belief: Belief, found: Found | None = None
    ) -> BodyVariables:
        """The bodies after the fit; `start` is what `belief` is about."""
        assert len(start.betas) == len(belief), (len(start.betas), len(belief))
        with one_thread():
            fitted, energy = self._descended(start, belief, found)
            if found is None or self.bank is None or self.trust.rivals == 0:
                return fitted
            return self._against_rivals(fitted, energy, belief, found, self.bank)

    def _descended(
        self, start: BodyVariables, belief: Belief, found: Found | None
    ) -> tuple[BodyVariables, Float[Tensor, " B"]]:
        """The bodies at the end of all legs, and their energies."""
        s, trust, fitted = self.settings, self.trust, start
        terms: dict[str, Tensor] = {}
        # Found joints that are far off do not pull before their noise is thought to be large.
        sigmas = s.coarse_sigma, 2 * s.sigma, s.sigma
        for sigma, steps in zip(sigmas, trust.steps, strict=True):
            energy = partial(self.energy, start=start, belief=belief, found=found, sigma=sigma)
            fitted, terms = minimise(fitted, energy, Stage("trust", steps, speed=trust.speed))
        return fitted, total(terms)

    def _against_rivals(
        self,
        fitted: BodyVariables,
        energy: Float[Tensor, " B"],
        belief: Belief,
        found: Found,
        bank: PoseBank,
    ) -> BodyVariables:
        """Of each person the body with the lowest energy; rivals begin with a handicap."""
        owners, starts = [], []
        for person in _with_enough(found):
            target = Target2D(
                points_px=found.points_px[person],
                confidence=found.confidence[person],
                K=belief.K[person],
            )
            with torch.no_grad():
                rivals = starting_points(
                    target,
                    found.points,
                    bank,
                    count=self.trust.rivals,
                    num_betas=self.body.num_betas,
                )
            owners += [person] * len(rivals.betas)
            starts.append(rivals)
        if not owners:
            return fitted
        owner = torch.tensor(owners)
        rivals, theirs = self._descended(
            _stacked(starts), belief.select(owner), found.select(owner)
        )
        everybody = torch.cat([torch.arange(len(energy)), owner])
        energies = torch.cat([energy, theirs + self.trust.handicap])
        best = [
            int(energies.masked_fill(everybody != person, torch.inf).argmin())
            for person in range(len(energy))
        ]
        return _stacked([fitted, rivals]).select(torch.tensor(best))

    def energy(
        self,
        v: BodyVariables,
        start: BodyVariables,
        belief: Belief,
        found: Found | None,
        sigma: float,
    ) -> dict[str, Float[Tensor, " B"]]:
        """The terms of every person, nats; `sigma` is of found joints, in sizes of the person."""
        s, trust = self.settings, self.trust
        posed = v.betas, v.pose_rotmat(), v.transl(self.body)
        landmarks, joints = self.landmarks.skin(*posed)
        terms = {
            "seen": trust.seen * _of_seen(torch.cat([joints, landmarks], 1), belief),
            "first": trust.first * _of_first(joints, belief),
            "place": trust.place * _of_place(joints, belief),
            "pose": trust.pose * self.prior(v.body_pose),
            "limits": s.limit_weight * self.prior.beyond_limits(v.body_pose),
            "shape": shape_prior(v.betas),
            "turn": trust.turn * (v.body_pose - start.body_pose).square().sum((-1, -2)),
        }
        if found is not None:
            points_px = project(found.points(*posed)[0], belief.K)
            terms["found"] = trust.found * _of_found(points_px, found, sigma)
        return terms


def _with_enough(found: Found) -> list[int]:
    """The people whose joints say where they are."""
    enough = (found.confidence > 0).sum(1) >= FEWEST_JOINTS
    return enough.nonzero()[:, 0].tolist()


def _stacked(parts: Sequence[BodyVariables]) -> BodyVariables:
    return BodyVariables(
        **{f.name: torch.cat([getattr(v, f.name) for v in parts]) for f in fields(BodyVariables)}
    )


def _of_found(points_px: Float[Tensor, "B J 2"], found: Found, sigma: float) -> Float[Tensor, " B"]:
    """How unlikely it is that a detector found these points where it did."""
    spread = sigma * joint_spread(found.points.skeleton.joints)
    return robust_reprojection(
        points_px, found.points_px, found.confidence, sigma_px=spread * found.scale_px[:, None]
    )


def _of_seen(points: Float[Tensor, "B 45 3"], belief: Belief) -> Float[Tensor, " B"]:
    """How unlikely it is that the network saw these points where it saw them."""
    off = project(points, belief.K) - belief.points_px
    return _unlikely(off, belief.points_scale_px[..., None]).sum((1, 2))


def _of_first(joints: Float[Tensor, "B 24 3"], belief: Belief) -> Float[Tensor, " B"]:
    """How unlikely these joints are, seen from the pelvis, after the network's answer."""
    off = joints - joints[:, :1] - (belief.joints_cam - belief.joints_cam[:, :1])
    scale = torch.stack([belief.across, belief.across, belief.depth], -1).clamp_min(LEAST_SPREAD)
    return _unlikely(off, scale).sum((1, 2))


def _of_place(joints: Float[Tensor, "B 24 3"], belief: Belief) -> Float[Tensor, " B"]:
    """How unlikely this distance is after the network's answer."""
    far = [part[:, 0, 2].clamp_min(NEAREST).log() for part in (joints, belief.joints_cam)]
    return _unlikely(far[0] - far[1], belief.place)


def _unlikely(error: Float[Tensor, "*shape"], scale: Float[Tensor, "*#shape"]) -> Tensor:
    """Negative log likelihood under Laplace distributions, nats, smooth around zero."""
    return ((error / scale).square() + _ROUND**2).sqrt() - _ROUND


def _size(points_px: Float[Tensor, "J 2"], confidence: Float[Tensor, " J"]) -> Float[Tensor, ""]:
    """The diagonal of the box of the joints that are there, pixels."""
    seen = points_px[confidence > 0]
    if not len(seen):
        return torch.tensor(SMALLEST_PERSON_PX)
    return (seen.amax(0) - seen.amin(0)).norm().clamp_min(SMALLEST_PERSON_PX)
