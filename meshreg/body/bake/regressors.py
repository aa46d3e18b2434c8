"""Joint regressors: few non-negative weights on nearby vertices that give a joint's position.

Non-negative weights with sum one make a joint follow translation and scale and stay inside.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from meshreg.body.bake.rig import MIRRORED_JOINT, NAMES, PARENTS

NEAREST, RANDOM = 160, 260  # candidate vertices close to a joint, and further off
REACH = 0.4  # metres from the joint to the furthest candidate
MIN_SHARE = 0.15  # a candidate's weight for the joint, its parent and its children
SUM_WEIGHT = 2.0  # metres of error per unit that the weights miss their sum of one
RIDGE = 1e-5  # square metres; spreads a joint over more vertices


@dataclass(frozen=True, eq=False)
class Surface:
    """What is known about the vertices that regressors choose from."""

    rest: Float[np.ndarray, "V 3"]  # the mean body
    weights: Float[np.ndarray, "V 24"]
    mirror: np.ndarray  # (V,)


def fit_row(
    vertices: Float[np.ndarray, "N C 3"], points: Float[np.ndarray, "N 3"], ridge: float = RIDGE
) -> Float[np.ndarray, "C"]:
    """The non-negative weights, summing to one, that best give the points from the vertices."""
    centre = points.mean(0)
    A = (vertices - centre).transpose(0, 2, 1).reshape(-1, vertices.shape[1])
    b = (points - centre).reshape(-1)
    # The normal equations, with one heavy row for the sum; a Cholesky factor brings them back to
    # the form that the solver takes, with C rows in place of 3 N.
    heavy = SUM_WEIGHT**2 * len(b)
    normal = A.T @ A + heavy + ridge * len(b) * np.eye(A.shape[1])
    factor = np.linalg.cholesky(
        normal + 1e-10 * np.trace(normal) / len(normal) * np.eye(len(normal))
    )
    row, _ = nnls(factor.T, np.linalg.solve(factor, A.T @ b + heavy), maxiter=30 * len(normal))
    row[row < 1e-4] = 0
    return row / row.sum()


def relatives(joint: int) -> list[int]:
    """A joint, its parent and its children."""
    parent = [int(PARENTS[joint])] if PARENTS[joint] >= 0 else []
    return [joint, *parent, *np.flatnonzero(np.equal(PARENTS, joint)).tolist()]


def joint_candidates(
    surface: Surface, joint: int, point: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Vertices near a joint that move with it: the nearest and a sample of those further off."""
    moves_along = surface.weights[:, relatives(joint)].sum(1) > MIN_SHARE
    distance = np.linalg.norm(surface.rest - point, axis=1) + np.where(moves_along, 0, np.inf)
    order = np.argsort(distance, kind="stable")
    further = order[NEAREST : np.searchsorted(distance[order], REACH)]
    sampled = rng.choice(further, min(len(further), RANDOM), replace=False)
    near = order[:NEAREST][np.isfinite(distance[order[:NEAREST]])]
    return np.concatenate([near, sampled])


def with_mirror_images(candidates: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The candidates and their mirror images, each once."""
    return np.unique(np.concatenate([candidates, mirror[candidates]]))


def fit_joint_regressor(
    shapes: Float[np.ndarray, "N V 3"],
    joints: Float[np.ndarray, "N 24 3"],
    surface: Surface,
    rng: np.random.Generator,
) -> Float[np.ndarray, "24 V"]:
    """The 24 rest joints from the vertices: left solved, right mirrored, central ones even."""
    regressor = np.zeros((len(NAMES), shapes.shape[1]))
    for joint, twin in enumerate(MIRRORED_JOINT):
        if twin < joint:
            continue
        candidates = joint_candidates(surface, joint, joints[:, joint].mean(0), rng)
        if twin == joint:
            candidates = with_mirror_images(candidates, surface.mirror)
        chosen = shapes[:, candidates].astype(np.float64)
        regressor[joint, candidates] = fit_row(chosen, joints[:, joint])
        if twin == joint:
            regressor[joint] = 0.5 * (regressor[joint] + regressor[joint][surface.mirror])
        else:
            regressor[twin] = regressor[joint][surface.mirror]
    return regressor


def apply_regressor(regressor: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Joints of any number of bodies: (J, V) and (..., V, 3) -> (..., J, 3)."""
    return regressor @ vertices


def errors_mm(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distances between points, in millimetres."""
    return 1000 * np.linalg.norm(found - expected, axis=-1)
