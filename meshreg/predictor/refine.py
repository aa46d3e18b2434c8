"""From a predicted body to one that meets the picture's joints and masks: the fit starts there."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import Body
from meshreg.data.keypoints import Keypoints
from meshreg.fit.smplify import FEWEST_JOINTS, BodyFitter
from meshreg.fit.trust import TrustingFitter, found_joints, joined
from meshreg.fit.variables import variables_of
from meshreg.geometry.cameras import project
from meshreg.predictor.person import Person
from meshreg.predictor.trusting import belief_of

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
        seen=None,
    )


def refine_by_trust(
    people: Sequence[Person], keypoints: Sequence[Keypoints | None], fitter: TrustingFitter
) -> list[Person]:
    """The people after a fit that trusts each joint as far as the network can be trusted there.

    Everybody must know what the network saw of them (`Person.seen`). Of joints that a detector
    found, `keypoints`, all people's must be of one set; who has none (None, or fewer than four) is
    fitted to what the network saw alone.

    Raises:
        InputError: if the fitter's body is another one.
    """
    if not people:
        return []
    body, seen = fitter.body, [person.seen for person in people if person.seen is not None]
    assert len(seen) == len(people), "somebody's network did not say what it saw"
    for person in people:
        check_same_topology(body.topology_hash, person.topology_hash, "the predicted person")
    beliefs = [belief_of(s, p.joints_cam, p.K) for s, p in zip(seen, people, strict=True)]
    numbers = (
        torch.from_numpy(np.stack([getattr(person, name) for person in people]))
        for name in ("betas", "pose_rotmat", "transl")
    )
    used = [k if k is not None and _enough(k) else None for k in keypoints]
    found = found_joints(body, used)
    fitted = fitter(variables_of(body, *numbers), joined(beliefs), found)
    pose, transl = fitted.pose_rotmat(), fitted.transl(body)
    rows = zip(people, fitted.betas, pose, transl, used, strict=True)
    return [_after(body, person, numbers, k) for person, *numbers, k in rows]


def _enough(keypoints: Keypoints) -> bool:
    return int((keypoints.confidence > 0).sum()) >= FEWEST_JOINTS


def _after(
    body: Body, person: Person, numbers: Sequence[Tensor], keypoints: Keypoints | None
) -> Person:
    """The person with another body, and where that body shows the joints that were found."""
    betas, pose_rotmat, transl = numbers
    after = replace(person.posed(body, betas, pose_rotmat, transl), seen=None)
    if keypoints is None:
        return after
    points, _ = BodyKeypoints(body, keypoints.skeleton)(
        betas[None], pose_rotmat[None], transl[None]
    )
    shown_px = project(points, torch.from_numpy(person.K)[None])[0].numpy()
    return replace(after, keypoints=keypoints, reprojection_px=shown_px)


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
