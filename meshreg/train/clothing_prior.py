"""Learn a semantic prior from bodies fitted to people whose pictures are labelled.

Run: `meshreg prior learn --fits FOLDER --masks FOLDER --out prior.safetensors`
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.clothing.counting import count_labels, prior_from_counts, votes
from meshreg.clothing.labels import NUM_LABELS
from meshreg.clothing.prior import SemanticPrior
from meshreg.errors import InputError
from meshreg.render.rasterizer import Rasterizer

NEAR = 0.01  # metres; a body that reaches behind the camera is cut here


@dataclass(frozen=True, eq=False)
class DressedViews:
    """Pictures of one size: in each the undressed body that a person has, and the labels."""

    verts_cam: Float[Tensor, "B V 3"]  # metres, in the picture's camera
    K: Float[Tensor, "B 3 3"]  # pixels of the label map
    labels: Integer[Tensor, "B H W"]  # CIHP ids; 254 and 255 count nothing


def learn_semantic_prior(
    views: Iterable[DressedViews],
    body: Body,
    rasterizer: Rasterizer,
    *,
    background: bool = False,
    smoothing: float = 1.0,
    recipe: str = "",
    licence: str = "",
) -> SemanticPrior:
    """Count what is seen where on the body, then smooth and normalise.

    Args:
        views: any number, taken one by one, so that a generator may make them.
        body: whose vertices the views hold.
        rasterizer: finds the visible triangle of each pixel.
        background: count pixels of the body that are labelled background, too.
        smoothing: how many pictures each neighbour of a vertex stands for.
        recipe: how the views were made.
        licence: who owns the prior and under which terms.

    Raises:
        InputError: if no view has a labelled pixel on the body.
    """
    counts = collect_votes(views, body, rasterizer, background=background)
    return prior_from_counts(counts, body, smoothing=smoothing, recipe=recipe, licence=licence)


@torch.no_grad()
def collect_votes(
    views: Iterable[DressedViews], body: Body, rasterizer: Rasterizer, *, background: bool = False
) -> Float[Tensor, "V 20"]:
    """Votes of all views, one per picture and vertex seen.

    Raises:
        InputError: if no view has a labelled pixel on the body.
    """
    total = torch.zeros(
        len(body.v_template), NUM_LABELS, device=body.faces.device, dtype=torch.float64
    )
    pictures = 0
    for view in views:
        total += _votes_of(view, body, rasterizer, background)
        pictures += len(view.labels)
    if not bool(total.any()):
        raise InputError(
            f"none of the {pictures} pictures has a labelled pixel on the fitted body: give label "
            "maps with classes rather than plain masks, and bodies fitted to the same pictures."
        )
    return total.float()


def _votes_of(
    view: DressedViews, body: Body, rasterizer: Rasterizer, background: bool
) -> Float[Tensor, "V 20"]:
    assert view.verts_cam.shape[1] == len(body.v_template), view.verts_cam.shape
    reaches_behind = bool((view.verts_cam[..., 2] < NEAR).any())
    height, width = view.labels.shape[1:]
    fragments = rasterizer.fragments(
        view.verts_cam,
        body.faces,
        view.K,
        (height, width),
        z_clip=NEAR if reaches_behind else None,
    )
    packed = fragments.pix_to_face[..., 0]
    face = torch.where(packed >= 0, packed % len(body.faces), -1)
    counts = count_labels(
        face,
        fragments.bary_coords[..., 0, :],
        view.labels,
        body.faces,
        len(body.v_template),
        background=background,
    )
    return votes(counts)
