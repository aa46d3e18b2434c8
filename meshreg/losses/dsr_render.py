"""Draws the labels that a body would show if it were dressed as people usually are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from meshreg.body.assets import check_same_topology
from meshreg.body.smpl import Body
from meshreg.clothing.groups import DSR_CLOTHING, Grouping, minimally_clothed
from meshreg.clothing.labels import Label
from meshreg.clothing.prior import SemanticPrior
from meshreg.render.rasterizer import Rasterizer, SemanticImage

MIN_DEPTH = 1e-3  # metres; what is nearer, or behind the camera, is not drawn
# Of the soft style: the metres around the body's centre within which depths are compared, and how
# fine (0.005 is 15 mm); and how far outlines reach, which must not shrink with the picture's size.
HALF_RANGE, GAMMA = 1.5, 5e-3
BLUR_PX = 0.5
REACH = math.log(1 / 1e-4 - 1)  # squared distance, in units of sigma, at which faces are left out


@dataclass(frozen=True, eq=False)
class SemanticPrediction:
    """The label probabilities that the body's surface contributes to each pixel."""

    # Of the minimally clothed labels that the sample's picture shows; 0 off the body.
    bare: Float[Tensor, "B H W"]
    classes: Float[Tensor, "B H W G"]  # they sum to `alpha`, not to one
    alpha: Float[Tensor, "B H W"]  # share of the pixel that the body covers


class SemanticRenderer(nn.Module):
    """A body's vertices and a camera become label probabilities per pixel, in one rasterisation.

    With `style="edge"` the front surface is drawn sharply and its outlines carry exact gradients;
    "soft" blends what is near the outline and the front surface, in a depth range fitted to the
    body (Liu et al. 2019).
    """

    faces: Tensor
    bare_probs: Tensor
    class_probs: Tensor

    def __init__(
        self,
        *,
        body: Body,
        prior: SemanticPrior,
        rasterizer: Rasterizer,
        bare: str | Iterable[Label] = "default",
        classes: Grouping = DSR_CLOTHING,
        style: Literal["edge", "soft"] = "edge",
    ) -> None:
        """Take the parts; `bare` names the labels that count as minimally clothed.

        Raises:
            InputError: if the prior belongs to another body, or `bare` is no set of labels.
        """
        super().__init__()
        check_same_topology(body.topology_hash, prior.topology_hash, "the semantic prior")
        self.rasterizer, self.style, self.classes = rasterizer, style, classes
        grouping = minimally_clothed(bare)
        self.bare = grouping.members("minimally_clothed")
        is_bare = grouping.membership[:, 1].to(prior.probs)
        self.register_buffer("faces", body.faces, persistent=False)
        self.register_buffer("bare_probs", prior.probs * is_bare, persistent=False)
        self.register_buffer("class_probs", prior.group(classes), persistent=False)

    def forward(
        self,
        vertices_cam: Float[Tensor, "B V 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        visible: Bool[Tensor, "B 20"],
    ) -> SemanticPrediction:
        """Draw the bodies; `visible` are the labels that each picture shows.

        A label that a picture does not show is not expected anywhere: whoever wears long sleeves
        shows no arms, however often others do.
        """
        if vertices_cam.dtype != torch.float64:
            vertices_cam = vertices_cam.float()  # half precision would jitter by pixels
        bare = (self.bare_probs @ visible.to(self.bare_probs).mT).mT[..., None]
        attributes = torch.cat([bare, self.class_probs.expand(len(bare), -1, -1)], -1)
        if self.style == "edge":
            image = self.rasterizer.edge_semantic(
                vertices_cam, self.faces, K, size, attributes, cull_backfaces=True
            )
        else:
            image = self._blended(vertices_cam, K, size, attributes)
        return SemanticPrediction(
            bare=image.classes[..., 0], classes=image.classes[..., 1:], alpha=image.alpha
        )

    def _blended(
        self,
        vertices_cam: Float[Tensor, "B V 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        attributes: Float[Tensor, "B V C"],
    ) -> SemanticImage:
        near, far = 1.0, 1.0 + 2 * HALF_RANGE
        image = self.rasterizer.soft_semantic(
            centred_in_depth(vertices_cam, near + HALF_RANGE),
            self.faces,
            K,
            size,
            attributes,
            sigma=(2 * BLUR_PX / min(size)) ** 2 / REACH,
            gamma=GAMMA,
            z_near=near,
            z_far=far,
            cull_backfaces=True,
        )
        # With so short a range even a trace of a face outweighs the background, so the blended
        # values tell the colour and `alpha` tells how much of it.
        surface = image.classes[..., 1:].sum(-1, keepdim=True)
        share = torch.where(surface > 0, image.alpha[..., None] / surface.clamp_min(1e-12), 0.0)
        return SemanticImage(classes=image.classes * share, alpha=image.alpha, depth=image.depth)


def centred_in_depth(vertices_cam: Float[Tensor, "B V 3"], depth: float) -> Float[Tensor, "B V 3"]:
    """The same picture of bodies whose mean depth is `depth`: points slide along their rays.

    Depth differences within a body stay; what is behind the camera stays behind.
    """
    z = vertices_cam[..., 2:]
    in_front = z > MIN_DEPTH
    safe = torch.where(in_front, z, 1.0)
    shifted = z - z.mean(1, keepdim=True).detach() + depth
    moved = torch.cat([vertices_cam[..., :2] * (shifted / safe), shifted], -1)
    return torch.where(in_front & (shifted > MIN_DEPTH), moved, -1.0)
