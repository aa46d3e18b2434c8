"""How a network in training does on people of whom everything is known: in numbers and to see."""

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from meshreg.body.smpl import Body
from meshreg.data.sample import Batch
from meshreg.metrics import pa_mpjpe, root_aligned_mpjpe
from meshreg.models.outputs import BodyPrediction
from meshreg.models.regressors import Regressor, bodies_in_view
from meshreg.render.overlay import draw_overlay

SHOWN = 6  # people per picture


@torch.no_grad()
def scores(model: nn.Module, batches: list[Batch], body: Body) -> Mapping[str, float]:
    """Mean errors of the 24 joints from the pelvis, millimetres: as they are, and aligned."""
    errors: list[Tensor] = []
    for batch in batches:
        here = batch.to(next(model.parameters()).device)
        pred = _predicted(model, here)
        joints = body(pred.betas, pred.pose_rotmat, pred.transl).joints[:, :24]
        truth = here.joints_cam[:, :24]
        pair = root_aligned_mpjpe(joints, truth), pa_mpjpe(joints, truth)
        errors.append(1000 * torch.stack(pair, 1))
    mpjpe_mm, pa_mpjpe_mm = torch.cat(errors).mean(0).tolist()
    return {"mpjpe_mm": mpjpe_mm, "pa_mpjpe_mm": pa_mpjpe_mm}


@torch.no_grad()
def overlays(model: nn.Module, batch: Batch, body: Body) -> UInt8[Tensor, "3 H W"]:
    """The first people of a batch side by side, and below them the predicted bodies on them."""
    here = batch.to(next(model.parameters()).device)
    pred = _predicted(model, here)
    vertices = body(pred.betas, pred.pose_rotmat, pred.transl).vertices.cpu()
    columns = []
    for person in range(min(SHOWN, len(batch))):
        image = batch.image[person].permute(1, 2, 0).contiguous()
        drawn = draw_overlay(image.numpy(), [vertices[person]], body.faces.cpu(), batch.K[person])
        columns.append(torch.cat([image, torch.from_numpy(drawn)], 0))
    return torch.cat(columns, 1).permute(2, 0, 1)


def _predicted(model: nn.Module, batch: Batch) -> BodyPrediction:
    return bodies_in_view(
        cast(Regressor, model),
        batch.image,
        K_full=batch.K_full,
        box=batch.box,
        known_camera=batch.K_weight > 0,
    )
