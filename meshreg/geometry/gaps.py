"""Filling what a detector missed, along straight lines in time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.errors import InputError


def fill_gaps(
    points: Float[Tensor, "T J D"], seen: Bool[Tensor, "T J"], *, longest: int | None = None
) -> Float[Tensor, "T J D"]:
    """Points that were not seen, between those before and after; at the ends the nearest one.

    Raises:
        InputError: if a joint is never seen, or unseen for more than `longest` frames in a row.
    """
    if not len(points):
        raise InputError("there is no frame with a person: give at least one.")
    if not seen.any(0).all():
        missing = torch.nonzero(~seen.any(0)).flatten().tolist()
        raise InputError(
            f"joints {missing} are seen in no frame: give keypoints of this joint set that hold "
            "all its joints at least once."
        )
    if longest is not None and (gap := longest_gap(seen)) > longest:
        raise InputError(
            f"a joint is missing for {gap} frames in a row, more than the {longest} allowed: cut "
            "the clip there, or allow longer gaps."
        )
    before, after, share = _neighbours(seen)
    columns = torch.arange(points.shape[1], device=points.device)
    clean = torch.where(seen[..., None], points, torch.zeros_like(points))
    filled = torch.lerp(clean[before, columns], clean[after, columns], share[..., None].to(points))
    return torch.where(seen[..., None], points, filled)


def longest_gap(seen: Bool[Tensor, "T J"]) -> int:
    """The most frames in a row in which some joint is missing."""
    number = torch.arange(1, len(seen) + 1, device=seen.device)[:, None].expand(seen.shape)
    last_seen = torch.where(seen, number, torch.zeros_like(number)).cummax(0).values
    return int((number - last_seen).max())


def _neighbours(
    seen: Bool[Tensor, "T J"],
) -> tuple[Tensor, Tensor, Tensor]:
    """For every place the last frame that is seen, the next, and how far it is between them."""
    length = len(seen)
    number = torch.arange(length, device=seen.device)[:, None].expand(seen.shape)
    before = torch.where(seen, number, -1).cummax(0).values
    after = torch.where(seen, number, length).flip(0).cummin(0).values.flip(0)
    before, after = (
        torch.where(before < 0, after, before),
        torch.where(after >= length, before, after),
    )
    share = (number - before).float() / (after - before).clamp_min(1)
    return before, after, share
