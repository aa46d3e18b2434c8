"""The fit end to end, on people whose truth is known."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import roma
import torch

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.clothing.labels import PERSON_LABEL, UNKNOWN_LABEL
from meshreg.data.keypoints import Keypoints
from meshreg.errors import InputError
from meshreg.fit.energies import Energies, Problem
from meshreg.fit.evidence import Target2D, mask_target
from meshreg.fit.settings import FitSettings
from meshreg.fit.smplify import BodyFit, fit_body
from meshreg.fit.variables import BodyVariables
from meshreg.geometry.cameras import Camera, camera_from_fov, project
from meshreg.losses.priors import load_pose_prior
from meshreg.metrics import pa_mpjpe
from meshreg.render.rasterizer import rasterizer

SHARED = Path(__file__).parents[2] / "shared"
SIZE = (192, 160)
QUICK = FitSettings(
    candidates=24, finalists=3, coarse_px=64, fine_px=128, steps=(20, 40, 40, 20, 60)
)


class Scene:
    """A walking person seen from the front left, with everything a fit is given."""

    def __init__(self, skeleton: str = "coco17") -> None:
        self.body: Body = load_body()
        self.camera: Camera = camera_from_fov(50.0, SIZE, axis="y")
        pose = torch.zeros(24, 3)
        names = SKELETONS["smpl24"]
        for name, angles in {
            "left_shoulder": (0.1, 0.2, -1.2),
            "right_shoulder": (0.1, 0.2, 1.2),
            "left_elbow": (0.0, -0.6, 0.0),
            "right_elbow": (0.0, 0.5, 0.0),
            "left_hip": (-0.6, 0.0, 0.0),
            "right_hip": (0.3, 0.0, 0.0),
            "left_knee": (0.3, 0.0, 0.0),
            "right_knee": (0.7, 0.0, 0.0),
        }.items():
            pose[names.index(name)[0]] = torch.tensor(angles)
        rotmat = roma.rotvec_to_rotmat(pose)
        turn = roma.rotvec_to_rotmat(torch.tensor([0.0, -0.6, 0.0]))
        rotmat[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
        self.pose, self.betas = rotmat[None], torch.tensor([[0.8, -0.5, *[0.0] * 8]])
        self.transl = torch.tensor([[0.05, 0.1, 2.6]])
        vertices, joints = self.body.skin(self.betas, self.pose, self.transl)
        self.joints = joints[0]
        self.vertices = vertices[0]
        points, _ = BodyKeypoints(self.body, skeleton)(self.betas, self.pose, self.transl)
        px = project(points, self.camera.K[None])[0]
        self.keypoints = Keypoints(skeleton, px.numpy(), np.ones(len(px), np.float32))
        face = rasterizer().fragments(vertices, self.body.faces, self.camera.K[None], SIZE)
        seen = face.pix_to_face[0, ..., 0].numpy() >= 0
        self.labels = np.where(seen, np.uint8(PERSON_LABEL), np.uint8(0))

    def error_mm(self, fit: BodyFit) -> float:
        return 1000 * float(pa_mpjpe(fit.joints_cam[:22], self.joints[:22]))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_a_fit_with_a_mask_finds_the_person(scene: Scene) -> None:
    fit = fit_body(scene.keypoints, scene.camera, scene.labels, body=scene.body, settings=QUICK)
    assert scene.error_mm(fit) < 50
    assert fit.silhouette_iou > 0.88
    assert fit.error_px < 1.5
    assert (fit.joints_cam - scene.joints).norm(dim=-1).mean() < 0.4, "the distance is near too"


def test_the_result_is_consistent_with_the_body(scene: Scene) -> None:
    """Anyone who poses the body with the reported numbers gets the reported mesh."""
    settings = replace(QUICK, candidates=4, finalists=1, steps=(2, 2, 2, 2, 2))
    fit = fit_body(scene.keypoints, scene.camera, scene.labels, body=scene.body, settings=settings)
    smplx = scene.body.to_smplx()
    output = smplx(
        betas=fit.betas[None],
        global_orient=fit.global_orient[None],
        body_pose=fit.body_pose.reshape(1, 69),
        transl=fit.transl[None],
    )
    torch.testing.assert_close(output.vertices[0], fit.vertices_cam, atol=2e-5, rtol=0)
    torch.testing.assert_close(output.joints[0, :24], fit.joints_cam, atol=2e-5, rtol=0)
    px = project(fit.keypoints_cam[None], scene.camera.K[None])[0]
    torch.testing.assert_close(px, fit.reprojection_px)


def test_the_same_input_gives_the_same_fit(scene: Scene) -> None:
    settings = replace(QUICK, candidates=6, finalists=2, steps=(3, 3, 3, 3, 3))
    first, second = (
        fit_body(scene.keypoints, scene.camera, scene.labels, body=scene.body, settings=settings)
        for _ in range(2)
    )
    assert torch.equal(first.vertices_cam, second.vertices_cam)


def test_openpose_keypoints_without_a_mask() -> None:
    scene = Scene("openpose25")
    fit = fit_body(scene.keypoints, scene.camera, body=scene.body, settings=QUICK)
    assert scene.error_mm(fit) < 80
    assert np.isnan(fit.silhouette_iou)


def test_unseen_legs_stay_relaxed(scene: Scene) -> None:
    """Half a person in the picture: what nobody sees hangs from the hips as in everyday poses."""
    hidden = scene.keypoints.confidence.copy()
    coco = SKELETONS["coco17"]
    hidden[coco.index("left_knee", "right_knee", "left_ankle", "right_ankle")] = 0.0
    keypoints = replace(scene.keypoints, confidence=hidden)
    fit = fit_body(keypoints, scene.camera, body=scene.body, settings=QUICK)
    prior, _ = load_pose_prior()
    names = SKELETONS["smpl24"]
    legs = [i - 1 for i in names.index("left_knee", "right_knee", "left_ankle", "right_ankle")]
    assert (fit.body_pose[legs] - prior.relaxed[legs]).norm(dim=-1).max() < 0.6
    assert fit.error_px < 1.5


def test_a_clothed_mask_does_not_fatten_the_body(scene: Scene) -> None:
    """A coat that stands off by pixels is no reason for more weight; a bare silhouette is."""
    grown = cv2.dilate((scene.labels > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    bare = np.where(grown, np.uint8(PERSON_LABEL), np.uint8(0))
    coat = np.where(grown, np.uint8(7), np.uint8(0))
    widths = []
    for labels in (bare, coat):
        fit = fit_body(scene.keypoints, scene.camera, labels, body=scene.body, settings=QUICK)
        covered = rasterizer().fragments(
            fit.vertices_cam[None], scene.body.faces, scene.camera.K[None], SIZE
        )
        widths.append(int((covered.pix_to_face >= 0).sum()))
    assert widths[1] < 0.96 * widths[0]


def test_too_few_joints_are_refused(scene: Scene) -> None:
    confidence = np.zeros_like(scene.keypoints.confidence)
    confidence[:3] = 1.0
    with pytest.raises(InputError, match="only 3 joints"):
        fit_body(replace(scene.keypoints, confidence=confidence), scene.camera, body=scene.body)


@pytest.mark.parametrize("value", [0, UNKNOWN_LABEL])
def test_a_label_map_without_a_person_is_refused(scene: Scene, value: int) -> None:
    labels = np.full(SIZE, value, np.uint8)
    with pytest.raises(InputError, match="no person"):
        fit_body(scene.keypoints, scene.camera, labels, body=scene.body)


def test_energy_is_lowest_at_the_truth_and_its_gradient_points_back(scene: Scene) -> None:
    """Moving the true body off the mask raises the mask term, and descent moves it back."""
    prior, _ = load_pose_prior()
    draw, settings = rasterizer(), FitSettings()
    energies = Energies(body=scene.body, prior=prior, rasterizer=draw, settings=settings)
    target = Target2D(
        points_px=torch.from_numpy(scene.keypoints.points_px),
        confidence=torch.from_numpy(scene.keypoints.confidence),
        K=scene.camera.K,
    )
    problem = Problem(target=target, points=BodyKeypoints(scene.body, "coco17"))
    mask = mask_target(scene.labels, scene.camera, 160)
    pelvis = scene.joints[0]
    truth = BodyVariables(
        betas=scene.betas,
        root_rotmat=scene.pose[:, 0],
        root_rotvec=torch.zeros(1, 3),
        body_pose=roma.rotmat_to_rotvec(scene.pose[:, 1:]),
        bearing=(pelvis[:2] / pelvis[2])[None],
        log_depth=pelvis[2:].log(),
    )

    def terms(variables: BodyVariables) -> dict[str, torch.Tensor]:
        return energies.of_picture(variables, problem, mask, 0.01, 0.15)

    at_truth = terms(truth)
    assert float(at_truth["keypoints"]) < 1e-4
    assert float(at_truth["mask"]) < 30
    for shift in (0.03, -0.03):
        bearing = (truth.bearing + torch.tensor([[shift, 0.0]])).requires_grad_()
        moved = terms(replace(truth, bearing=bearing))
        assert float(moved["mask"].detach()) > 3 * float(at_truth["mask"])
        moved["mask"].sum().backward()
        assert bearing.grad is not None
        assert float(bearing.grad[0, 0]) * shift > 0


@pytest.mark.slow
def test_accuracy_on_poses_the_prior_has_not_seen() -> None:
    """Median over twenty undressed people with exact keypoints and silhouettes."""
    motion = SHARED / "data" / "cmu_motion_train.npz"
    if not motion.is_file():
        pytest.skip("the motion data are not part of a user's checkout")
    from benchmarks.fit_synthetic import main

    rows = main(motion, 20, 0)
    assert float(np.median(rows["PA-MPJPE mm"])) < 30
    assert float(np.median(rows["IoU"])) > 0.95
