"""A batch at another size: the picture, its maps, its camera and its joints change together."""

from dataclasses import replace

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from meshreg.data.sample import Batch
from meshreg.geometry.cameras import resize_intrinsics


def resized(batch: Batch, size: int) -> Batch:
    """The batch with square pictures of `size` pixels; what the box shows stays the same."""
    before = batch.image.shape[-1]
    if before == size:
        return batch
    K = resize_intrinsics(batch.K, size / before, size / before)
    return replace(
        batch,
        image=resized_picture(batch.image, size),
        K=K,
        joints_px=(batch.joints_px + 0.5) * (size / before) - 0.5,
        keypoints_px=(batch.keypoints_px + 0.5) * (size / before) - 0.5,
        labels=nearest(batch.labels, size),
        depth=nearest(batch.depth, size),
        part=nearest(batch.part, size),
        instance=nearest(batch.instance, size),
    )


def resized_picture(image: UInt8[Tensor, "B 3 H W"], size: int) -> UInt8[Tensor, "B 3 h w"]:
    """Square pictures of `size` pixels; where they shrink, pixels are averaged."""
    if image.shape[-1] == size:
        return image
    found = torch.nn.functional.interpolate(
        image.float(), (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return found.round().clamp(0, 255).to(torch.uint8)


def nearest(values: Shaped[Tensor, "B H W"], size: int) -> Shaped[Tensor, "B h w"]:
    """A map at another size by the value nearest to each pixel centre: ids never mix."""
    before = values.shape[-1]
    places = torch.arange(size, device=values.device).add(0.5).mul(before / size).long()
    return values[:, places][:, :, places]
