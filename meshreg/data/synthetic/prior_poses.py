"""New poses from the shipped pose prior: variations of mocap, and people who just stand or sit."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

import meshreg
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
from meshreg.errors import InputError, MissingFileError

# The numbers are read here without the prior's module, which is about gradients, so that they are
# the same to the last bit everywhere.
PRIOR_PATH = Path(meshreg.__file__).parent / "losses" / "pose_prior.safetensors"
_ARRAYS = {"weights", "means", "whitening", "lower", "upper"} | {
    f"bank.{name}" for name in ("root_rotmat", "body_pose", "weight")
}
_MAKE_ANOTHER = "reinstall meshreg, or learn one from your own motion with `meshreg prior pose`."
NUM_PRIOR_JOINTS = 21  # SMPL's joints 1 to 21
NEIGHBOURS = 6
MOST_BLEND = 0.5  # of the way to a neighbour
SPREAD = 0.22  # of a component's standard deviations
ROOT_SPREAD = 0.04  # radians of tilt about each axis
EVENNESS = 0.6  # power of the share of frames: 1 as often as in mocap, 0 all alike
STANDING = 0.25  # share of people who just stand or sit


class PriorPoses:
    """Poses near those of the prior's bank: blended with a neighbour, varied, within limits."""

    def __init__(self, path: Path = PRIOR_PATH, *, standing: float = STANDING) -> None:
        """The shipped prior, or one learned by `meshreg prior pose`; the share of people at rest.

        Raises:
            MissingFileError: if the prior is not there.
            InputError: if its file is damaged or holds something else.
        """
        prior = _read(path)
        self._standing = standing
        self._root = _orthonormal(prior["bank.root_rotmat"])
        self._pose = np.zeros((len(self._root), 23, 3))
        self._pose[:, :NUM_PRIOR_JOINTS] = prior["bank.body_pose"]
        self._lower, self._upper = prior["lower"], prior["upper"]
        weight = prior["bank.weight"]
        self._cumulative = np.cumsum(np.where(weight > 0, weight**EVENNESS, 0.0))
        self._neighbours = _nearest(self._root, self._pose)
        self._factor = np.linalg.inv(prior["whitening"])  # L of each covariance L L^T
        self._component = _likeliest(prior)

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


def _likeliest(prior: dict[str, np.ndarray]) -> NDArray[np.int64]:
    """(N,) the component of the mixture that each pose of the bank most likely comes from."""
    x = prior["bank.body_pose"].reshape(len(prior["bank.body_pose"]), -1)
    log_density = [
        np.log(weight) + np.log(np.diagonal(W)).sum() - 0.5 * np.square((x - mean) @ W.T).sum(1)
        for weight, mean, W in zip(
            prior["weights"], prior["means"], prior["whitening"], strict=True
        )
    ]
    return np.argmax(np.stack(log_density, 1), axis=1)


def _orthonormal(rotmat: Float[np.ndarray, "N 3 3"]) -> Float[np.ndarray, "N 3 3"]:
    """Exact rotations from those that the file holds in half precision."""
    x, y = rotmat[..., 0], rotmat[..., 1]
    x = x / np.sqrt((x * x).sum(-1, keepdims=True))
    y = y - (x * y).sum(-1, keepdims=True) * x
    y = y / np.sqrt((y * y).sum(-1, keepdims=True))
    return np.stack([x, y, np.cross(x, y)], -1)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a prior's file in double precision."""
    if not path.is_file():
        raise MissingFileError(f"no pose prior at {path}: {_MAKE_ANOTHER}")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}): {_MAKE_ANOTHER}") from error
    if missing := sorted(_ARRAYS - set(arrays)):
        raise InputError(f"{path} is no pose prior, it lacks {', '.join(missing)}: {_MAKE_ANOTHER}")
    return {name: arrays[name].astype(np.float64) for name in _ARRAYS}
