"""One batch of predictions beside its truth, and every measure of the two."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol as Interface
from typing import runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg import metrics
from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, BodyOutput
from meshreg.data.sample import KEYPOINTS, NO_PART, Batch
from meshreg.evaluate.protocols import JointSet, Protocol
from meshreg.render.rasterizer import Rasterizer

MM = 1000.0
OWN_JOINTS = SKELETONS["smplx45"]
SUBJECT = 1  # in `Sample.instance`
UNKNOWN_LABEL = 255


@runtime_checkable
class Prediction(Interface):
    """What a regressor says of every person of a batch."""

    @property
    def betas(self) -> Float[Tensor, "B S"]: ...

    @property
    def pose_rotmat(self) -> Float[Tensor, "B 24 3 3"]: ...

    @property
    def transl(self) -> Float[Tensor, "B 3"]: ...


@dataclass(frozen=True, eq=False)
class Comparison:
    """Predictions, truth and all that turns either into joints, meshes and maps."""

    batch: Batch
    prediction: Prediction
    body: Body
    regressors: Mapping[str, JointRegressor]
    rasterizer: Rasterizer | None = None  # needed by measures of pictures only

    @cached_property
    def predicted(self) -> BodyOutput:
        """The predicted bodies where they were predicted to be."""
        p = self.prediction
        return self.body(p.betas, p.pose_rotmat, p.transl)

    @cached_property
    def true_vertices(self) -> Float[Tensor, "B V 3"]:
        """The true meshes: those that come with the samples, else made of their parameters."""
        batch = self.batch
        if batch.vertices_cam.shape[1]:
            return batch.vertices_cam
        return self.body(batch.betas, batch.pose_rotmat, batch.transl).vertices

    @cached_property
    def mesh_known(self) -> Bool[Tensor, " B"]:
        batch = self.batch
        return (batch.betas_weight > 0) & (batch.pose_weight > 0).all(1)

    @cached_property
    def parts(self) -> Int[Tensor, "B H W"]:
        """The predicted bodies in the pictures: the joint that moves each pixel, or `NO_PART`."""
        assert self.rasterizer is not None
        size = self.batch.image.shape[-2:]
        faces = self.body.faces
        seen = self.rasterizer.fragments(
            self.predicted.vertices, faces, self.batch.K, (size[0], size[1])
        ).pix_to_face[..., 0]
        moved_by = self.body.weights.argmax(1)[faces[:, 0]]
        part = moved_by[seen.long().clamp_min(0) % len(faces)]
        return torch.where(seen >= 0, part, NO_PART)

    def predicted_points(self, joints: JointSet, names: tuple[str, ...]) -> Float[Tensor, "B N 3"]:
        """Joints, by name, of the predicted bodies."""
        return self._joints(joints, names, self.predicted.vertices, self.predicted.joints)

    def true_points(
        self, joints: JointSet, names: tuple[str, ...], annotated: tuple[str, ...]
    ) -> tuple[Float[Tensor, "B N 3"], Bool[Tensor, " B"]]:
        """The same joints of the truth, and for whom all of them are known."""
        batch = self.batch
        if annotated:
            places = KEYPOINTS.index(*annotated)
            known = (batch.keypoints_cam_weight[:, places] > 0).all(1)
            return batch.keypoints_cam[:, places], known
        points = self._joints(joints, names, self.true_vertices, batch.joints_cam)
        if joints.regressor:
            return points, self.mesh_known
        places = OWN_JOINTS.index(*names)
        return points, (batch.joints_weight[:, places] > 0).all(1)

    def _joints(
        self, joints: JointSet, names: tuple[str, ...], vertices: Tensor, own: Tensor
    ) -> Float[Tensor, "B N 3"]:
        if not joints.regressor:
            return own[:, OWN_JOINTS.index(*names)]
        regressor = self.regressors[joints.regressor]
        return regressor(vertices)[:, regressor.skeleton.index(*names)]


Values = dict[str, Float[Tensor, " B"]]  # NaN where the truth is not known


def measure(compared: Comparison, protocol: Protocol) -> Values:
    """All measures of a protocol, for every sample of a batch."""
    values: Values = {}
    for joints in protocol.joint_sets:
        values |= _joint_values(compared, joints)
    roots = _roots(compared, protocol.joint_sets[0])
    for name in protocol.mesh_measures:
        values[name] = MM * MESH_MEASURES[name](compared, *roots)
        values[name][~compared.mesh_known] = torch.nan
    for name in protocol.picture_measures:
        for key, found in PICTURE_MEASURES[name](compared).items():
            values[key] = torch.where(compared.batch.transl_weight > 0, found, torch.nan)
    return values


def _roots(compared: Comparison, joints: JointSet) -> tuple[Tensor, Tensor]:
    """The root joints of both meshes."""
    pred = compared.predicted_points(joints, joints.roots)
    return pred, compared.true_points(joints, joints.roots, ())[0]


def _joint_values(compared: Comparison, joints: JointSet) -> Values:
    target, known = compared.true_points(joints, joints.joints, joints.annotated)
    roots, roots_known = compared.true_points(joints, joints.roots, joints.annotated_roots)
    pred = compared.predicted_points(joints, joints.joints)
    pred = metrics.centred(pred, compared.predicted_points(joints, joints.roots))
    known = known & roots_known
    # What stands in for an unknown truth may be anything, even NaN.
    target = torch.where(known[:, None, None], metrics.centred(target, roots), 0.0)
    ending = f"_{joints.label}" if joints.label else ""
    values = {
        name + ending: factor * function(pred.double(), target.double()).float()
        for name, (function, factor) in JOINT_MEASURES.items()
        if name in joints.measures
    }
    return {name: torch.where(known, value, torch.nan) for name, value in values.items()}


JOINT_MEASURES: dict[str, tuple[Callable[..., Tensor], float]] = {
    "mpjpe_mm": (metrics.mpjpe, MM),
    "pa_mpjpe_mm": (metrics.pa_mpjpe, MM),
    "n_mpjpe_mm": (metrics.n_mpjpe, MM),
    "pck150": (metrics.pck, 100.0),
    "auc150": (metrics.auc, 100.0),
}


def _pve(compared: Comparison, pred_roots: Tensor, true_roots: Tensor) -> Tensor:
    return metrics.pve(compared.predicted.vertices, compared.true_vertices, pred_roots, true_roots)


def _v2v(compared: Comparison, pred_roots: Tensor, true_roots: Tensor) -> Tensor:
    """Both as they were posed, at translation 0: only pelvis and turn are shared."""
    del pred_roots, true_roots
    pred = compared.predicted.vertices - compared.prediction.transl[:, None]
    return metrics.v2v(pred, compared.true_vertices - compared.batch.transl[:, None])


def _shape(compared: Comparison, pred_roots: Tensor, true_roots: Tensor) -> Tensor:
    """The unposed bodies, centred: what the pose cannot excuse."""
    del pred_roots, true_roots
    body = compared.body
    offset = compared.prediction.betas - compared.batch.betas
    moved = torch.einsum("bs,vxs->bvx", offset, body.shapedirs)
    return (moved - moved.mean(1, keepdim=True)).norm(dim=-1).mean(1)


MESH_MEASURES: dict[str, Callable[[Comparison, Tensor, Tensor], Tensor]] = {
    "pve_mm": _pve,
    "v2v_mm": _v2v,
    "shape_mm": _shape,
}


def _known_pixels(compared: Comparison) -> Bool[Tensor, "B H W"]:
    return compared.batch.labels != UNKNOWN_LABEL


def _silhouette_iou(compared: Comparison) -> Values:
    known = _known_pixels(compared)
    pred = (compared.parts != NO_PART) & known
    return {"silhouette_iou": metrics.mask_iou(pred, (compared.batch.instance == SUBJECT) & known)}


def _part_iou(compared: Comparison) -> Values:
    """Of every body part, and the mean over those that are seen."""
    names = SKELETONS["smpl24"].joints
    parts = compared.parts.to(torch.uint8)
    found = metrics.class_iou(
        parts, compared.batch.part, range(len(names)), _known_pixels(compared)
    )
    each = {f"part_iou.{name}": found[:, place] for place, name in enumerate(names)}
    return {"part_iou": found.nanmean(1)} | each


PICTURE_MEASURES: dict[str, Callable[[Comparison], Values]] = {
    "silhouette_iou": _silhouette_iou,
    "part_iou": _part_iou,
}
