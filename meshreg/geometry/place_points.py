"""Where a shape of known size is, from its picture: the translation that explains its pixels."""

import torch
from jaxtyping import Float
from torch import Tensor

NEAREST = 0.3  # metres: solutions closer to the camera, or behind it, are artefacts
_TRUNCATE = 3.0  # standard deviations at which the smoothing window ends


def translation_from_pixels(
    points: Float[Tensor, "T J 3"],
    points_px: Float[Tensor, "T J 2"],
    K: Float[Tensor, "3 3"],
    weight: Float[Tensor, "T J"] | None = None,
) -> Float[Tensor, "T 3"]:
    """For every frame the t for which points + t project onto the given pixels, by least squares.

    The equations of projection are linear in t. Where their solution is not in front of the camera,
    the size in the picture gives the depth instead.
    """
    weight = torch.ones_like(points[..., 0]) if weight is None else weight
    rays = (torch.cat([points_px, torch.ones_like(points_px[..., :1])], -1)) @ K.inverse().T
    directions = rays[..., :2]
    # t_xy - direction * t_z = direction * z - xy, two rows for each point
    eye = torch.eye(2).to(points).expand(*directions.shape[:-1], 2, 2)
    rows = torch.cat([eye, -directions[..., None]], -1)
    right = directions * points[..., 2:] - points[..., :2]
    normal = torch.einsum("tj,tjkr,tjks->trs", weight, rows, rows)
    moment = torch.einsum("tj,tjkr,tjk->tr", weight, rows, right)
    tiny = 1e-9 * torch.eye(3).to(points)
    solved = torch.linalg.solve(normal + tiny, moment)
    by_size = _by_size(points, directions, weight)
    return torch.where((solved[:, 2:] > NEAREST) & solved.isfinite().all(1, True), solved, by_size)


def _by_size(
    points: Float[Tensor, "T J 3"], directions: Float[Tensor, "T J 2"], weight: Float[Tensor, "T J"]
) -> Float[Tensor, "T 3"]:
    """As if all points had one depth."""
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-9))[..., None]
    middle, seen = (share * points[..., :2]).sum(1), (share * directions).sum(1)
    spread = (share * (points[..., :2] - middle[:, None]).square()).sum((1, 2)).sqrt()
    seen_spread = (share * (directions - seen[:, None]).square()).sum((1, 2)).sqrt()
    depth = (spread / seen_spread.clamp_min(1e-6)).clamp_min(NEAREST)[:, None]
    return torch.cat([seen * depth - middle, depth], 1)


def smoothed(track: Float[Tensor, "T D"], sigma: float) -> Float[Tensor, "T D"]:
    """A track averaged over time with a Gaussian of `sigma` frames; the ends are repeated."""
    reach = min(int(_TRUNCATE * sigma + 0.5), len(track) - 1)
    if reach < 1:
        return track
    steps = torch.arange(-reach, reach + 1).to(track)
    window = torch.exp(-0.5 * (steps / sigma).square())
    places = torch.arange(len(track))[:, None] + torch.arange(-reach, reach + 1)
    near = track[places.clamp(0, len(track) - 1)]
    return torch.einsum("k,tkd->td", window / window.sum(), near)
