"""The losses that PersPose is trained with (ICCV 2025), with the published weights.

Lengths and densities are compared as if every person were 1.8 m tall, and an error of a few
pixels is forgiven where annotators did not mean quite the same joints. Absence is weight zero.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.joint_estimate import PELVIS, JointEstimate
from meshreg.body.ortho_twists import TURNED
from meshreg.body.skeleton import skeleton
from meshreg.geometry.cameras import project
from meshreg.geometry.joint_decoding import mean_focal
from meshreg.losses.averages import known_difference, weighted_mean
from meshreg.losses.terms import Term

TALL = 1.8  # metres
SLACK_PX = 5.0
SLACK_DEPTH = 0.04  # metres, of a person 1.8 m tall
SLACK_DENSITY = 0.04 / 800  # metres per pixel: that depth at a focal length of 800 pixels

_LIMBS = (
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
ANNOTATED = _LIMBS  # what annotators of pictures agree on with SMPL, in the order of COCO
# What markerless capture agrees on with it, in the order of Human3.6M; the pelvis is that set's
CAPTURED = (
    *("pelvis", "right_knee", "right_ankle", "left_knee", "left_ankle"),
    *("left_elbow", "left_wrist", "right_elbow", "right_wrist"),
)
ANNOTATED_PLACES = skeleton("smpl24").index(*ANNOTATED)
CAPTURED_PLACES = [PELVIS, *skeleton("smpl24").index(*CAPTURED[1:])]

_USUAL = {
    "points": 1.0,
    "points_annotated": 1.0,
    "points_captured": 1.0,
    "depth": 1.0,
    "depth_captured": 0.5,
    "density": 1.0,
    "density_captured": 0.5,
    "twists": 0.1,
    "betas": 0.01,
    "leaves": 0.01,
}
WEIGHTS: dict[str, dict[str, float]] = {
    "3dpw": _USUAL,
    "w_be_3dpw": _USUAL,
    "3dhp": _USUAL | {"depth": 0.5, "density": 0.5},
    "h36m": _USUAL | {"twists": 10.0},
    "w_be_3dhp": _USUAL | {"depth_captured": 1.0, "density_captured": 1.0},
}


@dataclass(frozen=True, eq=False)
class PersPoseTruth:
    """What is known of a batch: bodies, or annotated points, or captured joints, or several."""

    K: Float[Tensor, "B 3 3"]  # of the crop, pixels
    size: tuple[int, int]  # height and width of the crop, pixels
    stature: Float[Tensor, " B"]  # metres, of the unposed person; any positive number if unknown
    has_body: Bool[Tensor, " B"]
    joints_cam: Float[Tensor, "B 25 3"]  # metres; SMPL's joints and Human3.6M's pelvis
    twists: Float[Tensor, "B 24 3"]  # unit vectors; see body.ortho_twists
    leaf_rotmat: Float[Tensor, "B 5 3 3"]
    betas: Float[Tensor, "B S"]
    # How much the points of a body count; the published value is 0.1 for BEDLAM, else 1
    points_weight: Float[Tensor, " B"]
    annotated_px: Float[Tensor, "B 8 2"]  # pixels of the crop, in the order of `ANNOTATED`
    annotated: Float[Tensor, "B 8"]  # weights; 0: not annotated
    captured_cam: Float[Tensor, "B 9 3"]  # metres, in the order of `CAPTURED`
    captured: Bool[Tensor, " B"]


def perspose_terms(
    pred: JointEstimate, truth: PersPoseTruth, weights: dict[str, float] = _USUAL
) -> dict[str, Term]:
    """All terms that PersPose is trained with, to be summed by `terms.total`.

    Points outside the crop count nothing, because heat maps cannot reach them.
    """
    seen = cache(lambda: _seen(truth.joints_cam, truth.has_body, truth))
    captured = cache(lambda: _seen(truth.captured_cam, truth.captured, truth))
    values = {
        "points": lambda: points_error(pred, truth, seen()),
        "points_annotated": lambda: annotated_error(pred, truth),
        "points_captured": lambda: captured_points_error(pred, truth, captured()),
        "depth": lambda: depth_error(pred, truth, seen()),
        "depth_captured": lambda: captured_depth_error(pred, truth, captured()),
        "density": lambda: density_error(pred, truth),
        "density_captured": lambda: captured_density_error(pred, truth),
        "twists": lambda: twist_error(pred, truth),
        "betas": lambda: betas_error(pred, truth),
        "leaves": lambda: leaf_error(pred, truth),
    }
    return {name: Term(weights[name], value) for name, value in values.items()}


# --- in the picture, pixels -----------------------------------------------------------------------
def points_error(
    pred: JointEstimate, truth: PersPoseTruth, seen: Float[Tensor, "B 25"]
) -> Float[Tensor, ""]:
    """Mean distance of the joints of known bodies, weighted by `points_weight`."""
    target = project(truth.joints_cam, truth.K)
    distance = known_difference(pred.points_px, target, seen).norm(dim=-1)
    return weighted_mean(distance, truth.points_weight[:, None] * seen)


def annotated_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """Mean distance of annotated points beyond the slack."""
    known = torch.where(_inside(truth.annotated_px, truth.size), truth.annotated, 0.0)
    points = pred.points_px[:, ANNOTATED_PLACES]
    distance = known_difference(points, truth.annotated_px, known).norm(dim=-1)
    return weighted_mean((distance - SLACK_PX).relu(), known)


def captured_points_error(
    pred: JointEstimate, truth: PersPoseTruth, seen: Float[Tensor, "B 9"]
) -> Float[Tensor, ""]:
    """Mean distance of captured joints beyond the slack."""
    target = project(truth.captured_cam, truth.K)
    distance = known_difference(pred.points_px[:, CAPTURED_PLACES], target, seen).norm(dim=-1)
    return weighted_mean((distance - SLACK_PX).relu(), seen)


# --- along the view, as of a person of 1.8 m ------------------------------------------------------
def depth_error(
    pred: JointEstimate, truth: PersPoseTruth, seen: Float[Tensor, "B 25"]
) -> Float[Tensor, ""]:
    """Mean error of depths behind the root, centimetres."""
    z = truth.joints_cam[..., 2]
    return weighted_mean(100 * _scaled(pred.depth - (z - z[:, :1]), seen, truth), seen)


def captured_depth_error(
    pred: JointEstimate, truth: PersPoseTruth, seen: Float[Tensor, "B 9"]
) -> Float[Tensor, ""]:
    """The same behind the captured pelvis, beyond the slack."""
    depth = pred.depth[:, CAPTURED_PLACES] - pred.depth[:, PELVIS, None]
    z = truth.captured_cam[..., 2]
    error = _scaled(depth - (z - z[:, :1]), seen, truth)
    return weighted_mean(100 * (error - SLACK_DEPTH).relu(), seen)


def density_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """Mean error of what a pixel covers at the root, millimetres."""
    target = truth.joints_cam[:, 0, 2] / mean_focal(truth.K)
    known = truth.has_body.to(target)
    error = _scaled((pred.density[:, 0] - target)[:, None], known[:, None], truth)
    return weighted_mean(1000 * error[:, 0], known)


def captured_density_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """The same at the captured pelvis, beyond the slack."""
    target = truth.captured_cam[:, 0, 2] / mean_focal(truth.K)
    known = truth.captured.to(target)
    error = _scaled((pred.density[:, PELVIS] - target)[:, None], known[:, None], truth)
    return weighted_mean(1000 * (error[:, 0] - SLACK_DENSITY).relu(), known)


# --- what the joints leave open -------------------------------------------------------------------
def twist_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """Mean distance of the twists' directions, on the 17 bones that turn a joint."""
    turned = list(TURNED)
    directions = torch.nn.functional.normalize(pred.twists[:, turned], dim=-1)
    known = truth.has_body.to(directions)[:, None].expand(-1, len(turned))
    distance = known_difference(directions, truth.twists[:, turned], known).norm(dim=-1)
    return weighted_mean(distance, known)


def betas_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """Mean absolute difference of the shape coefficients."""
    known = truth.has_body.to(pred.betas)
    return weighted_mean(known_difference(pred.betas, truth.betas, known).abs().mean(-1), known)


def leaf_error(pred: JointEstimate, truth: PersPoseTruth) -> Float[Tensor, ""]:
    """Mean difference of the rotations of hands, feet and head: 2 sqrt(2) sin(angle / 2)."""
    known = truth.has_body.to(pred.betas)[:, None].expand(-1, pred.leaf_rotmat.shape[1])
    difference = known_difference(pred.leaf_rotmat.flatten(2), truth.leaf_rotmat.flatten(2), known)
    return weighted_mean(difference.norm(dim=-1), known)


def _seen(
    joints_cam: Float[Tensor, "B J 3"], known: Bool[Tensor, " B"], truth: PersPoseTruth
) -> Float[Tensor, "B J"]:
    """1 for joints of known people that are inside the crop."""
    inside = _inside(project(joints_cam, truth.K), truth.size) & (joints_cam[..., 2] > 0)
    return (inside & known[:, None]).to(joints_cam)


def _inside(points_px: Float[Tensor, "*shape 2"], size: tuple[int, int]) -> Bool[Tensor, "*shape"]:
    x, y = points_px.unbind(-1)
    return (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])


def _scaled(
    error: Float[Tensor, "B J"], weight: Float[Tensor, "B J"], truth: PersPoseTruth
) -> Float[Tensor, "B J"]:
    """The size of known errors if the person were 1.8 m tall."""
    return TALL * torch.where(weight > 0, error, 0.0).abs() / truth.stature[:, None]
