"""Perspective encoding (PersPose, ICCV 2025): features that know where their cells look.

Two crops with the same pixels show different bodies if their cameras differ; the map of rays is
what tells them apart, added to features of any stage of any network.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from meshreg.geometry.ray_map import ray_map

WEIGHT_STD = 0.01  # as published


class PerspectiveEncoding(nn.Module):
    """Adds the map of rays, through a 1x1 convolution without bias, to a map of features."""

    def __init__(
        self, *, channels: int, image_size: int | tuple[int, int], start_at_zero: bool = False
    ) -> None:
        """`image_size` is that of the pictures whose K is given, pixels: a side, or height, width.

        With `start_at_zero` the features are unchanged at first: for networks that are trained.
        """
        super().__init__()
        square = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.image_size: tuple[int, int] = square
        self.project = nn.Conv2d(2, channels, 1, bias=False)
        nn.init.normal_(self.project.weight, std=0.0 if start_at_zero else WEIGHT_STD)

    def forward(
        self,
        features: Float[Tensor, "B C h w"],
        K_crop: Float[Tensor, "B 3 3"],
        known: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B C h w"]:
        """The features, changed by where they look; not at all where K is not `known`."""
        height, width = features.shape[-2:]
        rays = ray_map(K_crop, self.image_size, (height, width), known=known)
        return features + self.project(rays.to(self.project.weight.dtype)).to(features.dtype)
