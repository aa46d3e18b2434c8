"""From a predicted body to one that meets the picture's joints and masks: the fit starts there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from meshreg.body.assets import check_same_topology
from meshreg.data.keypoints import Keypoints
from meshreg.fit.smplify import BodyFitter
from meshreg.fit.variables import variables_of
from meshreg.predictor.person import Person

ENOUGH_OVERLAP = 0.2  # of box and joints, over their union: below, they are of different people


def refine(
    person: Person,
    keypoints: Keypoints,
    fitter: BodyFitter,
    labels: np.ndarray | None = None,
    *,
    on_step: Callable[[str], None] = lambda stage: None,
) -> Person:
    """The person after a fit to 2D joints, and to a label map (H, W) of CIHP ids if there is one.

    Raises:
        InputError: if the joints are too few for a fit, the labels show nobody, or the fitter's
            body is another one.
    """
    check_same_topology(fitter.body.topology_hash, person.topology_hash, "the predicted person")
    numbers = (torch.from_numpy(x)[None] for x in (person.betas, person.pose_rotmat, person.transl))
    start = variables_of(fitter.body, *numbers)
    fit = fitter(keypoints, person.camera, labels, start=start, on_step=on_step)
    return replace(
        person.posed(fitter.body, fit.betas, fit.pose_rotmat, fit.transl),
        keypoints=keypoints,
        reprojection_px=fit.reprojection_px.numpy(),
        silhouette_iou=fit.silhouette_iou,
    )


def box_of(keypoints: Keypoints) -> np.ndarray:  # (4,)
    """The box around the joints that are there: left, top, right, bottom, pixels."""
    seen = keypoints.points_px[keypoints.confidence > 0].astype(np.float64)
    return np.concatenate([seen.min(0), seen.max(0)])


def keypoints_of(people: Sequence[Person], given: Sequence[Keypoints]) -> list[Keypoints | None]:
    """For each person the joints that lie in the same place; None if nobody's do."""
    boxes = [box_of(keypoints) for keypoints in given]
    pairs = [
        (_overlap(person.box, box), i, j)
        for i, person in enumerate(people)
        for j, box in enumerate(boxes)
    ]
    found: list[Keypoints | None] = [None] * len(people)
    taken: set[int] = set()
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= ENOUGH_OVERLAP and found[i] is None and j not in taken:
            found[i] = given[j]
            taken.add(j)
    return found


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    extent = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(extent.clip(0)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return shared / max(areas - shared, 1e-9)
