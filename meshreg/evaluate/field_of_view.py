"""How well a network tells fields of view, beside guesses that look at no picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.mixture import Source
from meshreg.data.whole_pictures import as_seen
from meshreg.geometry.cameras import guess_camera, longer_side_fov
from meshreg.metrics import Interval, bootstrap_interval
from meshreg.models.field_of_view import FieldOfView, FovNetwork

LEVELS = (0.5, 0.8, 0.9)  # shares of pictures whose angles should lie in intervals of that name
_BATCH = 64


@dataclass(frozen=True, eq=False)
class FovJudgement:
    """What a network says of pictures whose fields of view are known, and what guesses say."""

    true_deg: Float[Tensor, " N"]  # across the longer side
    found: FieldOfView
    diagonal_deg: Float[Tensor, " N"]  # of the usual guess, one diagonal (CLIFF)
    constant_deg: float  # the one angle that is nearest to all of these

    @property
    def errors(self) -> dict[str, Float[Tensor, " N"]]:
        """Absolute errors in degrees, by who says so."""
        said = {
            "network": self.found.median_deg,
            "best constant": torch.full_like(self.true_deg, self.constant_deg),
            "image diagonal": self.diagonal_deg,
        }
        return {name: (angle - self.true_deg).abs() for name, angle in said.items()}

    @property
    def gain(self) -> Interval:
        """By how many degrees the mean error is smaller than that of the best constant."""
        errors = self.errors
        return bootstrap_interval(errors["best constant"] - errors["network"])

    def coverage(self, level: float) -> float:
        """The share of pictures whose angle lies in the middle interval of that probability."""
        low, high = (self.found.quantile(0.5 + sign * level / 2) for sign in (-1, 1))
        inside = (self.true_deg >= low) & (self.true_deg <= high)
        return float(inside.float().mean())

    def width_deg(self, level: float) -> Float[Tensor, " N"]:
        """How wide these intervals are."""
        low, high = (self.found.quantile(0.5 + sign * level / 2) for sign in (-1, 1))
        return high - low


@torch.inference_mode()
def judge_fov(network: FovNetwork, source: Source) -> FovJudgement:
    """Show a network, in evaluation mode, all whole pictures of a source with an end."""
    assert source.count is not None and not network.training
    device = network.edges_deg.device
    said: list[Tensor] = []
    truths: list[Tensor] = []
    usual: list[Tensor] = []
    for first in range(0, source.count, _BATCH):
        rows = range(first, min(first + _BATCH, source.count))
        seen = as_seen(source, rows, network.image_size).to(device)
        said.append(network(seen.image).log_shares.cpu())
        truths.append(seen.fov_deg.cpu())
        usual.append(_diagonal_guess(source.take(rows).full_size))
    true_deg = torch.cat(truths)
    return FovJudgement(
        true_deg=true_deg,
        found=FieldOfView(torch.cat(said), network.edges_deg.cpu()),
        diagonal_deg=torch.cat(usual),
        constant_deg=float(true_deg.median()),
    )


def _diagonal_guess(full_size: Tensor) -> Float[Tensor, " B"]:
    sizes = [(int(height), int(width)) for height, width in full_size]
    return torch.tensor([longer_side_fov(guess_camera(size)) for size in sizes])
