"""The loss of a regressor: what it predicts against what is known of each picture."""

from collections.abc import Callable, Mapping
from typing import Any

import roma
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.smpl import Body
from meshreg.clothing.labels import NUM_LABELS
from meshreg.clothing.prior import SemanticPrior, load_semantic_prior
from meshreg.data.sample import Batch
from meshreg.losses.dsr_render import SemanticRenderer
from meshreg.losses.dsr_terms import LabelledView, SemanticWeights, paper_terms, semantic_terms
from meshreg.losses.parameters import pose_error, scale_prior, shape_error, vertex_error
from meshreg.losses.priors import load_pose_prior, shape_prior
from meshreg.losses.terms import Term, scheduled
from meshreg.render.rasterizer import rasterizer
from meshreg.train.hmr_config import BY_LABELS, OF_MAPS, DsrConfig, LossConfig
from meshreg.train.hmr_joints import JointTerms
from meshreg.train.map_terms import MapTerms


class HmrTerms(nn.Module):
    """Calls the network on a batch and names every term of its loss, with its present weight."""

    def __init__(self, config: LossConfig, body: Body) -> None:
        """Load what the terms that count need.

        Raises:
            InputError: if a prior is missing or belongs to another body.
        """
        super().__init__()
        self.config, self.body, self.wanted = config, body, config.terms()
        self.joints = JointTerms(body, config.norm)
        self.labels = None
        if any(name in self.wanted for name in BY_LABELS):
            by_labels = "dsr_mc" in self.wanted or "dsr_c" in self.wanted
            prior = (
                load_semantic_prior(config.dsr.prior, body=body) if by_labels else no_labels(body)
            )
            self.labels = LabelTerms(config.dsr, body, prior)
        self.maps = MapTerms(config) if any(name in self.wanted for name in OF_MAPS) else None
        self.pose_prior = load_pose_prior()[0] if "pose_prior" in self.wanted else None

    def forward(self, predict: Callable[..., Any], batch: Batch, step: int) -> Mapping[str, Term]:
        known = batch.K_weight > 0
        pred = predict(batch.image, K_full=batch.K_full, box=batch.box, known_camera=known)
        posed = self.body(pred.betas, pred.pose_rotmat, pred.transl)
        values: dict[str, Callable[[], Tensor]] = {
            "keypoints2d": lambda: self.joints.in_picture(posed, batch),
            "joints3d": lambda: self.joints.in_space(posed, batch),
            "pose": lambda: pose_error(pred.pose_rotmat, batch.pose_rotmat, batch.pose_weight),
            "betas": lambda: shape_error(pred.betas, batch.betas, batch.betas_weight),
            "vertices": lambda: self._vertices(posed.vertices, posed.joints, batch),
            "camera": lambda: scale_prior(pred.cam[:, 0]),
            "pose_prior": lambda: self._unlikely_pose(pred.pose_rotmat),
            "shape_prior": lambda: shape_prior(pred.betas).mean(),
        }
        weights = {
            name: scheduled(term.weight, step, start=term.start, ramp=term.ramp)
            for name, term in self.wanted.items()
        }
        if self.maps is not None:
            values |= self.maps(pred.evidence, batch)
        terms = {name: Term(weights[name], values[name]) for name in weights.keys() & values.keys()}
        if self.labels is not None:
            by_labels = {name: weights.get(name, 0.0) for name in BY_LABELS}
            terms |= self.labels(posed.vertices, batch, SemanticWeights(**by_labels))
        return {name: terms[name] for name in self.wanted}  # always in the same order

    def _vertices(
        self, vertices: Float[Tensor, "B V 3"], joints: Float[Tensor, "B 45 3"], batch: Batch
    ) -> Float[Tensor, ""]:
        """Measured from each pelvis: how far away people are is another matter."""
        with torch.no_grad():
            truth = self.body(batch.betas, batch.pose_rotmat, batch.transl)
        # A surface is known if its shape and every turn of its joints are.
        weight = batch.betas_weight * batch.pose_weight.amin(1)
        return vertex_error(vertices - joints[:, :1], truth.vertices - truth.joints[:, :1], weight)

    def _unlikely_pose(self, pose_rotmat: Float[Tensor, "B 24 3 3"]) -> Float[Tensor, ""]:
        assert self.pose_prior is not None
        body_pose = roma.rotmat_to_rotvec(pose_rotmat[:, 1:])
        return (self.pose_prior(body_pose) + self.pose_prior.beyond_limits(body_pose)).mean()


class LabelTerms(nn.Module):
    """Terms that draw the body: its outline and its labels against those of the picture."""

    face_probs: Tensor

    def __init__(self, config: DsrConfig, body: Body, prior: SemanticPrior) -> None:
        super().__init__()
        self.config, self.body, self.rasterizer = config, body, rasterizer()
        self.renderer = SemanticRenderer(
            body=body,
            prior=prior,
            rasterizer=self.rasterizer,
            bare=config.bare,
            style=config.renderer,
        )
        face_probs = prior.per_face(body.faces.to(prior.probs.device))
        self.register_buffer("face_probs", face_probs, persistent=False)

    def forward(
        self, vertices: Float[Tensor, "B V 3"], batch: Batch, weights: SemanticWeights
    ) -> dict[str, Term]:
        view = LabelledView(labels=batch.labels, K=batch.K, weight=batch.K.new_ones(len(batch)))
        if self.config.mode == "corrected":
            return semantic_terms(self.renderer, vertices, view, weights, thin=self.config.step)
        return paper_terms(
            self.rasterizer, vertices, self.body.faces, view, self.face_probs, weights
        )


def no_labels(body: Body) -> SemanticPrior:
    """A stand-in where only outlines are drawn, for which it does not matter who wears what."""
    probs = body.v_template.new_zeros(len(body.v_template), NUM_LABELS)
    probs[:, 0] = 1.0
    return SemanticPrior(probs=probs, topology_hash=body.topology_hash, recipe="", licence="")
