"""Refinement: a fit that begins at a predicted person."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.cli.fit import body_fitter
from meshreg.data.keypoints import Keypoints
from meshreg.errors import InputError
from meshreg.fit.settings import FitSettings
from meshreg.geometry.cameras import camera_from_fov, project
from meshreg.metrics import pa_mpjpe
from meshreg.predictor.person import Person
from meshreg.predictor.refine import box_of, keypoints_of, refine

SIZE = (240, 320)


@dataclass(frozen=True, eq=False)
class Walker:
    """A person whose truth is known, with exact joints, and a prediction some way off."""

    joints: Tensor
    keypoints: Keypoints
    predicted: Person


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def walker(body: Body) -> Walker:
    torch.manual_seed(5)
    pose = roma.rotvec_to_rotmat(0.15 * torch.randn(24, 3))
    pose[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ pose[0]
    betas, transl = torch.randn(1, 10), torch.tensor([[0.1, 0.2, 3.5]])
    camera = camera_from_fov(50.0, SIZE)
    points, joints = BodyKeypoints(body, "coco17")(betas, pose[None], transl)
    px = project(points, camera.K[None])[0].numpy()
    keypoints = Keypoints("coco17", px, np.ones(17, np.float32))
    off = pose @ roma.rotvec_to_rotmat(0.12 * torch.randn(24, 3))
    person = Person(
        body=body.data.name,
        topology_hash=body.topology_hash,
        betas=betas[0].numpy(),
        pose_rotmat=pose.numpy(),
        transl=transl[0].numpy(),
        vertices_cam=np.zeros((7000, 3)),
        joints_cam=np.zeros((45, 3)),
        K=camera.K.numpy(),
        K_source=camera.source,
        image_size=SIZE,
        box=box_of(keypoints),
        score=1.0,
    )
    predicted = person.posed(body, betas[0] + 0.5, off, transl[0] * 1.1)
    return Walker(joints[0, :22], keypoints, predicted)


def test_refinement_brings_the_body_to_the_joints(walker: Walker, body: Body) -> None:
    fitter = body_fitter(body, FitSettings())
    refined = refine(walker.predicted, walker.keypoints, fitter)
    before, after = (
        float(pa_mpjpe(torch.from_numpy(person.joints_cam[:22]), walker.joints))
        for person in (walker.predicted, refined)
    )
    plain = fitter(walker.keypoints, walker.predicted.camera)
    assert after < 0.7 * before
    assert after < 1.05 * float(pa_mpjpe(plain.joints_cam[:22], walker.joints))
    error = np.linalg.norm(refined.reprojection_px - walker.keypoints.points_px, axis=1)
    assert error.mean() < 1.0
    record = refined.record()
    assert record.keypoint_names[0] == "nose"
    np.testing.assert_array_equal(record.keypoints_px, walker.keypoints.points_px)
    np.testing.assert_array_equal(refined.box, walker.predicted.box)


def test_what_no_joint_shows_stays_as_predicted(walker: Walker, body: Body) -> None:
    """With the legs out of the picture, their bent pose is kept rather than relaxed."""
    confidence = walker.keypoints.confidence.copy()
    confidence[13:] = 0  # knees and ankles
    seen = replace(walker.keypoints, confidence=confidence)
    pose = torch.from_numpy(walker.predicted.pose_rotmat).clone()
    knee = SKELETONS["smpl24"].index("left_knee")[0]
    pose[knee] = roma.rotvec_to_rotmat(torch.tensor([1.2, 0.0, 0.0]))
    numbers = (torch.from_numpy(x) for x in (walker.predicted.betas, walker.predicted.transl))
    betas, transl = numbers
    bent = walker.predicted.posed(body, betas, pose, transl)
    refined = refine(bent, seen, body_fitter(body, FitSettings()))
    turned = roma.rotmat_geodesic_distance(torch.from_numpy(refined.pose_rotmat[knee]), pose[knee])
    assert float(turned) < 0.25


def test_refinement_of_another_body(walker: Walker, body: Body) -> None:
    other = replace(walker.predicted, topology_hash="something")
    with pytest.raises(InputError, match="another body|topology something"):
        refine(other, walker.keypoints, body_fitter(body, FitSettings()))


def test_joints_find_their_people(walker: Walker) -> None:
    shifted = replace(walker.keypoints, points_px=walker.keypoints.points_px + [90, 0])
    boxes = [box_of(shifted), np.array([0.0, 0.0, 9.0, 9.0]), box_of(walker.keypoints)]
    people = [replace(walker.predicted, box=box.astype(np.float32)) for box in boxes]
    found = keypoints_of(people, [walker.keypoints, shifted])
    assert found[0] is shifted and found[1] is None and found[2] is walker.keypoints
