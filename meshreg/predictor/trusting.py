"""From a regressor's answers to what a fit is told: its words, and how far to trust each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import NUM_JOINTS
from meshreg.fit.trust import Belief
from meshreg.geometry.cameras import project
from meshreg.geometry.turned_crop import TurnedCrop
from meshreg.models.doubts import JointDoubts, signs_of_doubt
from meshreg.models.outputs import BodyPrediction
from meshreg.models.regressors import Regressor


@dataclass(frozen=True, eq=False)
class SeenJoints:
    """Where a network saw a person's 45 joints, and how wrong its answers probably are.

    Scales are mean absolute errors of each coordinate.
    """

    points_px: Float[np.ndarray, "45 2"]  # in the whole picture
    points_scale_px: Float[np.ndarray, "45"]
    across: Float[np.ndarray, "45"]  # of the body's joints from its pelvis, camera x and y, metres
    depth: Float[np.ndarray, "45"]  # the same along camera z
    place: float  # of the logarithm of the pelvis' depth


def seen_joints(  # noqa: PLR0913
    model: Regressor,
    found: BodyPrediction,
    joints_cam: Float[Tensor, "B 45 3"],
    *,
    K_full: Float[Tensor, "B 3 3"],
    box: Float[Tensor, "B 3"],
    turned: TurnedCrop | None = None,
) -> Sequence[SeenJoints | None]:
    """What a network saw of each person; None if it does not tell, or its doubts are not known.

    `joints_cam` are those of the predicted bodies in the camera of the whole pictures.
    """
    calibration, evidence = getattr(model, "doubts", None), found.evidence
    if evidence is None or calibration is None:
        return [None] * len(found)
    calibration = calibration.to(found.betas)
    if turned is None:
        centre, half = box[:, None, :2], box[:, 2, None, None] / 2
        doubts = calibration(
            signs_of_doubt(evidence, (project(joints_cam, K_full) - centre) / half)
        )
        return _rows(centre + half * evidence.points, half[..., 0], doubts)
    size = turned.size
    in_crop = project(turned.points(joints_cam), turned.K)
    doubts = calibration(signs_of_doubt(evidence, (in_crop + 0.5) / (size / 2) - 1))
    points_px = turned.pixels_back(evidence.points_px(size))
    # A half side of the crop, as large as it appears in the whole picture around its middle
    ends = turned.K.new_tensor([[0.0, (size - 1) / 2], [size - 1.0, (size - 1) / 2]])
    ends_px = turned.pixels_back(ends.expand(len(found), 2, 2))
    return _rows(points_px, (ends_px[:, 1] - ends_px[:, 0]).norm(dim=-1)[:, None] / 2, doubts)


def _rows(
    points_px: Float[Tensor, "B 45 2"], half_px: Float[Tensor, "B 1"], doubts: JointDoubts
) -> list[SeenJoints]:
    columns = (points_px, half_px * doubts.points, doubts.across, doubts.depth, doubts.place)
    rows = zip(*(column.cpu().numpy() for column in columns), strict=True)
    return [
        SeenJoints(
            points_px=px.copy(),
            points_scale_px=scale_px.copy(),
            across=across.copy(),
            depth=depth.copy(),
            place=float(place),
        )
        for px, scale_px, across, depth, place in rows
    ]


def belief_of(seen: SeenJoints, joints_cam: np.ndarray, K: np.ndarray) -> Belief:
    """What the fit is told of one person, whose predicted joints (45, 3) and camera these are."""

    def row(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))[None]

    return Belief(
        K=row(K),
        points_px=row(seen.points_px),
        points_scale_px=row(seen.points_scale_px),
        joints_cam=row(joints_cam[:NUM_JOINTS]),
        across=row(seen.across[:NUM_JOINTS]),
        depth=row(seen.depth[:NUM_JOINTS]),
        place=torch.tensor([seen.place]),
    )
