"""Fit a body to one picture: keypoints first on many candidates, then masks on the best of them.

In the line of SMPLify (Bogo et al. 2016), with three differences: the fit starts from many poses of
a bank instead of one, all candidates descend together as a batch, and rendered masks and bare-skin
parts decide between the candidates that explain the keypoints equally well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import NUM_JOINTS, Body, load_body
from meshreg.clothing.labels import UNKNOWN_LABEL
from meshreg.data.keypoints import Keypoints
from meshreg.errors import InputError
from meshreg.fit.energies import Energies, Problem
from meshreg.fit.evidence import SMALLEST_PERSON_PX, MaskTarget, Target2D, mask_target
from meshreg.fit.initialise import starting_points, starting_points_around
from meshreg.fit.optimize import Stage, minimise, total
from meshreg.fit.settings import FitSettings
from meshreg.fit.variables import BodyVariables
from meshreg.geometry.cameras import Camera, project
from meshreg.losses.priors import PoseBank, PosePrior, load_pose_prior
from meshreg.metrics import mask_iou
from meshreg.render.rasterizer import Rasterizer, rasterizer

FEWEST_JOINTS = 4  # below this the position in space is anybody's guess
SAME_BODY = 0.02  # metres: candidates nearer than this on average have met


@dataclass(frozen=True, eq=False)
class BodyFit:
    """The fitted body in the camera frame (OpenCV axes, metres, radians)."""

    betas: Float[Tensor, " S"]
    pose_rotmat: Float[Tensor, "24 3 3"]  # index 0 is the root, body to camera
    body_pose: Float[Tensor, "23 3"]  # axis-angle of the other joints
    global_orient: Float[Tensor, "3"]  # axis-angle of the root
    transl: Float[Tensor, "3"]  # smplx's: added after posing about the rest pelvis
    vertices_cam: Float[Tensor, "V 3"]
    joints_cam: Float[Tensor, "24 3"]
    keypoints_cam: Float[Tensor, "J 3"]  # the body's own points behind the given keypoints
    reprojection_px: Float[Tensor, "J 2"]  # where the picture shows them
    error_px: float  # mean distance to the given keypoints, weighted by confidence
    person_px: float  # diagonal of the box of the given keypoints, to judge the error by
    silhouette_iou: float  # with the given mask, unknown pixels left out; NaN without a mask
    energy: dict[str, float]  # the terms at the end, nats


class BodyFitter:
    """The parts of a fit put together; call it with what one picture says."""

    def __init__(
        self,
        *,
        body: Body,
        prior: PosePrior,
        bank: PoseBank,
        rasterizer: Rasterizer,
        settings: FitSettings | None = None,
    ) -> None:
        self.body, self.bank, self.rasterizer = body, bank, rasterizer
        self.settings = settings or FitSettings()
        self.energies = Energies(
            body=body, prior=prior, rasterizer=rasterizer, settings=self.settings
        )

    def __call__(
        self,
        keypoints: Keypoints,
        camera: Camera,
        labels: np.ndarray | None = None,
        *,
        start: BodyVariables | None = None,
        on_step: Callable[[str], None] = lambda stage: None,
    ) -> BodyFit:
        """Fit one person.

        Args:
            keypoints: 2D joints of the person.
            camera: the camera of the whole picture.
            labels: (H, W) CIHP label ids of the picture, or None.
            start: one body that is roughly right, such as a regressor's; None searches the bank.
            on_step: called with the stage's name after every optimisation step.

        Raises:
            InputError: with fewer than four confident joints, or a label map without a person.
        """
        problem = self._problem(keypoints, camera, start)
        masks = self._masks(labels, camera)
        with one_thread():
            return self._fit(problem, masks, camera, labels, on_step)

    def _fit(
        self,
        problem: Problem,
        masks: tuple[MaskTarget, MaskTarget] | None,
        camera: Camera,
        labels: np.ndarray | None,
        on_step: Callable[[str], None],
    ) -> BodyFit:
        variables = self._explain_keypoints(problem, on_step)
        if masks:
            variables = self._meet_mask(variables, problem, masks[0], on_step)
        variables = variables.select(torch.arange(len(variables.betas))[: self.settings.last])
        variables, terms = self._adjust(variables, problem, masks[1] if masks else None, on_step)
        best = total(terms).argmin()[None]
        terms = {name: value[best] for name, value in terms.items()}
        return self._result(variables.select(best), terms, problem, camera, labels)

    def _problem(
        self, keypoints: Keypoints, camera: Camera, start: BodyVariables | None
    ) -> Problem:
        confidence = torch.from_numpy(keypoints.confidence)
        if int((confidence > 0).sum()) < FEWEST_JOINTS:
            raise InputError(
                f"only {int((confidence > 0).sum())} joints have a confidence above 0: a fit needs "
                f"at least {FEWEST_JOINTS}."
            )
        points = BodyKeypoints(self.body, keypoints.skeleton)
        points_px = torch.from_numpy(keypoints.points_px)
        target = Target2D(points_px=points_px, confidence=confidence, K=camera.K)
        if target.extent_px < SMALLEST_PERSON_PX:
            raise InputError(
                f"all joints lie within {target.extent_px:.1f} px: a person must be at least "
                f"{SMALLEST_PERSON_PX:.0f} px large, and joints are given in pixels, not in shares."
            )
        return Problem(target=target, points=points, start=start)

    def _masks(
        self, labels: np.ndarray | None, camera: Camera
    ) -> tuple[MaskTarget, MaskTarget] | None:
        if labels is None:
            return None
        if not ((labels > 0) & (labels != UNKNOWN_LABEL)).any():
            raise InputError(
                "the label map holds no person, only background and unknown pixels: give another."
            )
        sizes = self.settings.coarse_px, self.settings.fine_px
        coarse, fine = (mask_target(labels, camera, size) for size in sizes)
        return coarse, fine

    # --- stages -----------------------------------------------------------------------------------
    def _explain_keypoints(self, problem: Problem, on_step: Callable[[str], None]) -> BodyVariables:
        """The best different bodies for the keypoints alone, best first."""
        s = self._settings(problem)
        with torch.no_grad():
            variables = self._candidates(problem)
        where = ("root_rotvec", "bearing", "log_depth")
        legs = [
            (Stage("place", s.steps[0], free=where, speed=2.0), s.coarse_sigma),
            (Stage("pose", s.steps[1], speed=1.5), 2 * s.sigma),
            (Stage("pose", s.steps[2]), s.sigma),
        ]
        terms: dict[str, Tensor] = {}
        for stage, sigma in legs:
            energy = partial(
                self.energies.of_keypoints, problem=problem, sigma=sigma, pose_weight=s.pose_weight
            )
            variables, terms = minimise(
                variables, energy, stage, on_step=partial(on_step, stage.name)
            )
        return variables.select(self._different(variables, total(terms), problem))

    def _settings(self, problem: Problem) -> FitSettings:
        return self.settings if problem.start is None else self.settings.from_start()

    def _candidates(self, problem: Problem) -> BodyVariables:
        s, target, points = self._settings(problem), problem.target, problem.points
        if problem.start is None:
            num_betas = self.body.num_betas
            return starting_points(
                target, points, self.bank, count=s.candidates, num_betas=num_betas
            )
        return starting_points_around(problem.start, target, points, self.body, count=s.candidates)

    def _meet_mask(
        self,
        variables: BodyVariables,
        problem: Problem,
        mask: MaskTarget,
        on_step: Callable[[str], None],
    ) -> BodyVariables:
        """Let all finalists meet the coarse mask; those that still differ, best first."""
        s = self._settings(problem)
        variables, terms = minimise(
            variables,
            lambda v: self.energies.of_picture(v, problem, mask, s.sigma, s.fine_pose_weight),
            Stage("mask", s.steps[3], speed=0.5),
            on_step=lambda: on_step("mask"),
        )
        return variables.select(self._different(variables, total(terms), problem))

    def _adjust(
        self,
        variables: BodyVariables,
        problem: Problem,
        mask: MaskTarget | None,
        on_step: Callable[[str], None],
    ) -> tuple[BodyVariables, dict[str, Tensor]]:
        s = self._settings(problem)
        # Without a mask the joints alone must not bend the body to the last pixel.
        sigma, weight = (
            (s.sigma, s.pose_weight) if mask is None else (s.fine_sigma, s.fine_pose_weight)
        )
        return minimise(
            variables,
            lambda v: self.energies.of_picture(v, problem, mask, sigma, weight),
            Stage("adjust", s.steps[4], speed=0.4),
            on_step=lambda: on_step("adjust"),
        )

    def _different(self, variables: BodyVariables, energy: Tensor, problem: Problem) -> Tensor:
        """Indices of the finalists: by energy, without those that have met a better one."""
        with torch.no_grad():
            _, joints = problem.points(
                variables.betas, variables.pose_rotmat(), variables.transl(self.body)
            )
        kept: list[int] = []
        for index in energy.argsort().tolist():
            apart = [(joints[index] - joints[k]).norm(dim=-1).mean() > SAME_BODY for k in kept]
            if all(apart):
                kept.append(index)
            if len(kept) == self.settings.finalists:
                break
        return torch.tensor(kept)

    # --- result -----------------------------------------------------------------------------------
    def _result(
        self,
        v: BodyVariables,
        terms: dict[str, Tensor],
        problem: Problem,
        camera: Camera,
        labels: np.ndarray | None,
    ) -> BodyFit:
        with torch.no_grad():
            pose_rotmat, transl = v.pose_rotmat(), v.transl(self.body)
            output = self.body(v.betas, pose_rotmat, transl)
            points, _ = problem.points(v.betas, pose_rotmat, transl)
            px = project(points, camera.K[None])[0]
        weight = problem.target.confidence
        distance = (px - problem.target.points_px).norm(dim=-1)
        distance = torch.where(weight > 0, distance, 0)  # absent joints may hold anything
        return BodyFit(
            betas=v.betas[0],
            pose_rotmat=pose_rotmat[0],
            body_pose=v.body_pose[0],
            global_orient=roma.rotmat_to_rotvec(pose_rotmat[0, 0]),
            transl=transl[0],
            vertices_cam=output.vertices[0],
            joints_cam=output.joints[0, :NUM_JOINTS],
            keypoints_cam=points[0],
            reprojection_px=px,
            error_px=float((weight * distance).sum() / weight.sum()),
            person_px=problem.target.extent_px,
            silhouette_iou=self._iou(output.vertices, camera, labels),
            energy={name: float(value[0]) for name, value in terms.items()},
        )

    def _iou(self, vertices: Tensor, camera: Camera, labels: np.ndarray | None) -> float:
        if labels is None:
            return float("nan")
        fragments = self.rasterizer.fragments(
            vertices, self.body.faces, camera.K[None], camera.size
        )
        covered = fragments.pix_to_face[0, ..., 0] >= 0
        known = torch.from_numpy(labels != UNKNOWN_LABEL)
        return float(mask_iou(covered & known, torch.from_numpy(labels > 0) & known))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one CPU thread for a while.

    The fit is thousands of small operations; on several threads they wait for each other ten times
    longer than they work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fit_body(
    keypoints: Keypoints,
    camera: Camera,
    labels: np.ndarray | None = None,
    *,
    body: Body | None = None,
    settings: FitSettings | None = None,
) -> BodyFit:
    """Fit one person with the shipped prior, the default rasteriser and the built-in body."""
    prior, bank = load_pose_prior()
    fitter = BodyFitter(
        body=body or load_body(),
        prior=prior,
        bank=bank,
        rasterizer=rasterizer(),
        settings=settings,
    )
    return fitter(keypoints, camera, labels)
