"""New poses from the shipped pose prior: variations of mocap, and people who just stand or sit."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from meshreg.data.synthetic.collisions import penetration, posed_joints
from meshreg.data.synthetic.poses import (
    ATTEMPTS,
    TOLERANCE,
    PoseDraw,
    average_rest_joints,
    choice,
    finished,
    least_colliding,
)
from meshreg.data.synthetic.standing import standing_pose
from meshreg.data.synthetic.turns import blended, rotvec_to_rotmat, without_heading
from meshreg.losses.priors import NUM_PRIOR_JOINTS, PoseBank, PosePrior, load_pose_prior

NEIGHBOURS = 6
MOST_BLEND = 0.5  # of the way to a neighbour
SPREAD = 0.22  # of a component's standard deviations
ROOT_SPREAD = 0.04  # radians of tilt about each axis
EVENNESS = 0.6  # power of the share of frames: 1 as often as in mocap, 0 all alike
STANDING = 0.25  # share of people who just stand or sit


class PriorPoses:
    """Poses near those of the prior's bank: blended with a neighbour, varied, within limits."""

    def __init__(
        self,
        *,
        prior: PosePrior | None = None,
        bank: PoseBank | None = None,
        standing: float = STANDING,
    ) -> None:
        """The shipped prior and bank unless others are given, and the share of people at rest."""
        if prior is None or bank is None:
            shipped_prior, shipped_bank = load_pose_prior()
            prior, bank = prior or shipped_prior, bank or shipped_bank
        self._standing = standing
        self._root = bank.root_rotmat.numpy().astype(np.float64)
        self._pose = np.zeros((len(self._root), 23, 3))
        self._pose[:, :NUM_PRIOR_JOINTS] = bank.body_pose.numpy()
        self._lower = prior.lower.numpy().astype(np.float64)
        self._upper = prior.upper.numpy().astype(np.float64)
        weight = bank.weight.numpy().astype(np.float64)
        self._cumulative = np.cumsum(np.where(weight > 0, weight**EVENNESS, 0.0))
        self._neighbours = _nearest(self._root, self._pose)
        whitening = prior.whitening.numpy().astype(np.float64)
        self._factor = np.linalg.inv(whitening)  # L of each covariance L L^T
        self._component = _likeliest(prior, self._pose[:, :NUM_PRIOR_JOINTS])

    def sample(self, rng: np.random.Generator) -> PoseDraw:
        """A pose, mirrored half of the time; colliding ones are drawn anew."""
        at_rest = rng.random() < self._standing
        draws = []
        for _ in range(ATTEMPTS):
            draw = standing_pose(rng) if at_rest else self._varied(rng)
            draws.append(draw)
            if penetration(draw.body_pose, average_rest_joints()) <= TOLERANCE:
                return finished(draw, rng)
        return finished(least_colliding(draws), rng)

    def _varied(self, rng: np.random.Generator) -> PoseDraw:
        one = choice(self._cumulative, rng)
        other = self._neighbours[one, int(rng.integers(NEIGHBOURS))]
        pose = blended(self._pose[one], self._pose[other], MOST_BLEND * rng.random())
        noise = self._factor[self._component[one]] @ rng.standard_normal(3 * NUM_PRIOR_JOINTS)
        body = pose[:NUM_PRIOR_JOINTS] + SPREAD * noise.reshape(-1, 3)
        pose[:NUM_PRIOR_JOINTS] = np.clip(body, self._lower, self._upper)
        tilt = rotvec_to_rotmat(ROOT_SPREAD * rng.standard_normal(3))
        return PoseDraw(without_heading(tilt @ self._root[one]), pose)


def _nearest(
    root: Float[np.ndarray, "N 3 3"], pose: Float[np.ndarray, "N 23 3"]
) -> NDArray[np.int64]:
    """(N, NEIGHBOURS) for each pose those whose joints are nearest, tilt included."""
    rest = average_rest_joints()
    joints = [r @ posed_joints(p, rest)[1].T for r, p in zip(root, pose, strict=True)]
    x = np.round(np.stack(joints).reshape(len(root), -1), 6)
    squares = (x * x).sum(1)
    distance = np.round(squares[:, None] + squares - 2 * x @ x.T, 6)
    np.fill_diagonal(distance, np.inf)
    return np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]


def _likeliest(prior: PosePrior, body_pose: Float[np.ndarray, "N 21 3"]) -> NDArray[np.int64]:
    """(N,) the component of the mixture that each pose most likely comes from."""
    means = prior.means.numpy().astype(np.float64)
    x = body_pose.reshape(len(body_pose), -1)
    log_density = [
        weight - 0.5 * np.square((x - mean) @ whitening.T).sum(1)
        for weight, mean, whitening in zip(
            prior.log_weights.numpy(),
            means,
            prior.whitening.numpy().astype(np.float64),
            strict=True,
        )
    ]
    return np.argmax(np.stack(log_density, 1), axis=1)
