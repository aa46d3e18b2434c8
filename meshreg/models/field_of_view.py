"""How wide a camera sees, read from the whole picture: a distribution over angles, not a number.

Lines that run together, floors and people near and far tell of a lens; many pictures tell little,
and then the distribution is wide. What is read is the angle across the longer side, which is that
across the letter-boxed picture, with the principal point in its middle (cf. CameraHMR, 2025).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.models.backbones import Backbone, Weights, backbone


@dataclass(frozen=True)
class FovArchitecture:
    """Everything that decides which weights the network has, and what its numbers mean."""

    backbone: str = "mobilenetv4_conv_small"
    image_size: int = 96  # side of the letter-boxed picture, pixels
    narrowest_deg: float = 10.0
    widest_deg: float = 130.0
    num_bins: int = 48  # of equal width, between the two
    dropout: float = 0.2


@dataclass(frozen=True, eq=False)
class FieldOfView:
    """Angles across the longer sides of pictures, as shares of evenly spaced bins of degrees."""

    log_shares: Float[Tensor, "B N"]  # logarithms of the bins' probabilities
    edges_deg: Float[Tensor, " M"]  # M = N + 1, ascending

    @property
    def below(self) -> Float[Tensor, "B M"]:
        """How probable it is that the angle is smaller than each edge."""
        shares = self.log_shares.exp()
        return torch.cat([torch.zeros_like(shares[:, :1]), shares.cumsum(1)], 1).clamp(max=1)

    def quantile(self, share: float) -> Float[Tensor, " B"]:
        """The angles that are above the true ones with this probability, degrees."""
        assert 0 < share < 1, share
        below = self.below.contiguous()
        wanted = below.new_full((len(below), 1), share)
        upper = torch.searchsorted(below, wanted).clamp(1, below.shape[1] - 1)
        low, high = below.gather(1, upper - 1), below.gather(1, upper)
        part = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        edges = self.edges_deg.to(below)
        return (edges[upper - 1] + part * (edges[upper] - edges[upper - 1]))[:, 0]

    @property
    def median_deg(self) -> Float[Tensor, " B"]:
        """The best single guess: as often too large as too small."""
        return self.quantile(0.5)


class FovNetwork(nn.Module):
    """A backbone, the mean of its features, and a share for each bin of angles."""

    edges_deg: Tensor
    temperature: Tensor

    def __init__(self, *, backbone: Backbone, architecture: FovArchitecture) -> None:
        super().__init__()
        self.backbone, self.architecture = backbone, architecture
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(backbone.channels, architecture.num_bins)
        # How much surer than the training data made it the network may be; see `made_honest`
        self.register_buffer("temperature", torch.ones(()))
        edges = torch.linspace(
            architecture.narrowest_deg, architecture.widest_deg, architecture.num_bins + 1
        )
        self.register_buffer("edges_deg", edges, persistent=False)

    @property
    def image_size(self) -> int:
        return self.architecture.image_size

    def forward(self, image: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"]) -> FieldOfView:
        """Read letter-boxed pictures, RGB in uint8 or from 0 to 1, black beyond their borders."""
        features = self.backbone(image).mean((2, 3))
        logits = self.head(self.dropout(features)).float() / self.temperature
        return FieldOfView(torch.log_softmax(logits, 1), self.edges_deg)


def build_fov(architecture: FovArchitecture, *, weights: Weights = None) -> FovNetwork:
    """A network of that architecture; `weights` are the backbone's, None for random ones.

    Raises:
        InputError: if the backbone is not known, its weights do not fit, or the angles are none.
    """
    a = architecture
    if not 0 < a.narrowest_deg < a.widest_deg < 180 or a.num_bins < 2:
        raise InputError(
            f"expected at least 2 bins of angles between 0 and 180 degrees, not {a.num_bins} "
            f"between {a.narrowest_deg:g} and {a.widest_deg:g}."
        )
    return FovNetwork(backbone=backbone(a.backbone, weights=weights), architecture=a)


@torch.no_grad()
def made_honest(
    network: FovNetwork, logs: Float[Tensor, "B N"], true_deg: Float[Tensor, " B"]
) -> None:
    """Set the temperature at which pictures that were not trained on are most probable.

    Networks are surer of what they learned by heart than of anything new (Guo et al. 2017). `logs`
    are the network's log shares of such pictures, `true_deg` their angles.
    """
    edges = network.edges_deg
    place = torch.bucketize(true_deg, edges[1:-1])
    warmths = torch.linspace(0.5, 4.0, 71)
    likely = [
        torch.log_softmax(logs * network.temperature / warmth, 1).gather(1, place[:, None]).mean()
        for warmth in warmths
    ]
    network.temperature.copy_(warmths[int(torch.stack(likely).argmax())])
