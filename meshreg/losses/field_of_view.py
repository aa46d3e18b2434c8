"""How wrong a distribution over fields of view is, given the true angles."""

import torch
from jaxtyping import Float
from torch import Tensor

SOFTNESS_DEG = 3.0  # angles this close count as nearly right, so that neighbours learn together


def unlikeliness(
    log_shares: Float[Tensor, "B N"], edges_deg: Float[Tensor, " M"], true_deg: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Cross-entropy with the true angles, each spread over its neighbourhood; at best not zero."""
    middle = (edges_deg[1:] + edges_deg[:-1]) / 2
    apart = (middle - true_deg[:, None]) / SOFTNESS_DEG
    target = torch.softmax(-apart.square() / 2, 1)
    return -(target * log_shares).sum(1).mean()


def distance_from_truth(
    below: Float[Tensor, "B M"], edges_deg: Float[Tensor, " M"], true_deg: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """The continuous ranked probability score in degrees (Gneiting and Raftery 2007).

    The absolute error for a distribution that is one number; smaller if an error was announced.
    """
    low, high = edges_deg[:-1], edges_deg[1:]
    part = ((true_deg[:, None] - low) / (high - low)).clamp(0, 1)  # of each bin, below the truth
    before, after = below[:, :-1], below[:, 1:]
    there = before + part * (after - before)  # within bins probability grows evenly
    wrong = part * _mean_square(before, there) + (1 - part) * _mean_square(1 - there, 1 - after)
    return (wrong * (high - low)).sum(1).mean()


def _mean_square(first: Float[Tensor, "B N"], last: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Of what changes evenly from one number to another."""
    return (first.square() + first * last + last.square()) / 3
