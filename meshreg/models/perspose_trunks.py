"""The networks under PersPose: a fine map for heat maps, a vector for everything else.

Both take an encoding of the camera, added to the first features of a quarter of the resolution.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.models.backbones import Backbone, Weights, backbone
from meshreg.models.joint_maps import TopDown

STRIDE = 4  # pixels per cell of the fine map, and of the map that the encoding is added to
PYRAMID = 128  # channels of the map that is put together from a network of one branch
LIGHT = 64  # the same for the lightest networks
_RESNETS = ("resnet18", "resnet34", "resnet50")
_MOBILE = "mobilenetv4_"


@dataclass(frozen=True, eq=False)
class TrunkFeatures:
    """What a trunk makes of pictures."""

    fine: Float[Tensor, "B C h w"]  # a quarter of the picture's resolution
    whole: Float[Tensor, "B D"]  # the mean over the picture


class Trunk(nn.Module):
    """Pictures and a map to add to their early features in, `TrunkFeatures` out."""

    encoded: int  # channels of the early features
    fine: int  # channels of the fine map
    whole: int  # length of the vector

    def __init__(self, parts: Backbone) -> None:
        super().__init__()
        self.backbone = parts
        self.stride = parts.stride  # the sides of pictures are multiples of it

    def normalised(
        self, image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Pictures, uint8 or from 0 to 1, as the network expects them."""
        x = image.to(self.backbone.mean.dtype)
        if image.dtype == torch.uint8:
            x = x / 255
        return (x - self.backbone.mean) / self.backbone.std


class HRNetTrunk(Trunk):
    """HRNet (Sun et al. 2019), whose finest branch is the map, with its classification neck."""

    encoded, whole = 256, 2048

    def __init__(self, parts: Backbone) -> None:
        super().__init__(parts)
        network: Any = parts.network
        self.fine = network.stage4_cfg["num_channels"][0]

    def forward(
        self, x: Float[Tensor, "B 3 H W"], encoding: Float[Tensor, "B E h w"]
    ) -> TrunkFeatures:
        net: Any = self.backbone.network
        x = net.act1(net.bn1(net.conv1(x)))
        x = net.act2(net.bn2(net.conv2(x)))
        x = net.layer1(x) + encoding
        branches = net.stage2([start(x) for start in net.transition1])
        branches = net.stage3(_with_branch(net.transition2, branches))
        branches = net.stage4(_with_branch(net.transition3, branches))
        return TrunkFeatures(fine=branches[0], whole=_neck(net, branches).mean((2, 3)))


def _with_branch(
    transition: nn.ModuleList, branches: list[Float[Tensor, "B _c _h _w"]]
) -> list[Float[Tensor, "B _c _h _w"]]:
    """The branches so far, and a coarser one made of the coarsest."""
    return [
        branches[place] if isinstance(start, nn.Identity) else start(branches[-1])
        for place, start in enumerate(transition)
    ]


def _neck(net: Any, branches: list[Float[Tensor, "B _c _h _w"]]) -> Float[Tensor, "B D h w"]:
    """All branches, widened and added at the coarsest resolution."""
    y = net.incre_modules[0](branches[0])
    pairs = zip(net.incre_modules[1:], net.downsamp_modules, branches[1:], strict=True)
    for widen, halve, branch in pairs:
        y = widen(branch) + halve(y)
    return net.final_layer(y)


class ResNetTrunk(Trunk):
    """A ResNet (He et al. 2016) with a top-down pyramid (Lin et al. 2017) that gives the map."""

    def __init__(self, parts: Backbone) -> None:
        super().__init__(parts)
        network: Any = parts.network
        channels = [info["num_chs"] for info in network.feature_info[1:]]
        self.encoded, self.whole, self.fine = channels[0], channels[-1], PYRAMID
        self.lateral = nn.ModuleList(nn.Conv2d(number, PYRAMID, 1) for number in channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1, bias=False),
            nn.BatchNorm2d(PYRAMID),
            nn.ReLU(),
        )

    def forward(
        self, x: Float[Tensor, "B 3 H W"], encoding: Float[Tensor, "B E h w"]
    ) -> TrunkFeatures:
        net: Any = self.backbone.network
        x = net.maxpool(net.act1(net.bn1(net.conv1(x))))
        levels = [net.layer1(x) + encoding]
        for layer in (net.layer2, net.layer3, net.layer4):
            levels.append(layer(levels[-1]))
        y = self.lateral[-1](levels[-1])
        for place in (2, 1, 0):
            y = self.lateral[place](levels[place]) + nn.functional.interpolate(y, scale_factor=2.0)
        return TrunkFeatures(fine=self.smooth(y), whole=levels[-1].mean((2, 3)))


class MobileTrunk(Trunk):
    """A MobileNetV4 (Qin et al. 2024) with a light pyramid: the trunk for CPUs."""

    def __init__(self, parts: Backbone) -> None:
        super().__init__(parts)
        network: Any = parts.network
        levels = [info for info in network.feature_info if info["reduction"] >= STRIDE]
        # Places among the network's blocks after which a resolution is done
        self.ends = [int(info["module"].split(".")[1]) for info in levels]
        channels = tuple(info["num_chs"] for info in levels)
        self.encoded, self.whole, self.fine = channels[0], channels[-1], LIGHT
        self.pyramid = TopDown(channels, LIGHT)

    def forward(
        self, x: Float[Tensor, "B 3 H W"], encoding: Float[Tensor, "B E h w"]
    ) -> TrunkFeatures:
        net: Any = self.backbone.network
        x, levels = net.bn1(net.conv_stem(x)), []
        for place, block in enumerate(net.blocks):
            x = block(x)
            if place == self.ends[0]:
                x = x + encoding
            if place in self.ends:
                levels.append(x)
        return TrunkFeatures(fine=self.pyramid(levels), whole=x.mean((2, 3)))


def perspose_trunk(name: str, *, weights: Weights = None) -> HRNetTrunk | ResNetTrunk | MobileTrunk:
    """A trunk by the name of its network: any HRNet, a ResNet, or a MobileNetV4.

    `weights` are those of `backbones.backbone`: None for random ones, "pretrained", or a file.

    Raises:
        InputError: if the network is not known or has no such trunk, or weights do not fit.
    """
    if name.startswith("hrnet_"):
        return HRNetTrunk(backbone(name, weights=weights))
    if name in _RESNETS:
        return ResNetTrunk(backbone(name, weights=weights))
    if name.startswith(_MOBILE):
        return MobileTrunk(backbone(name, weights=weights))
    raise InputError(
        f"PersPose has no trunk {name!r}: choose hrnet_w48, hrnet_w32, hrnet_w18, "
        f"{', '.join(_RESNETS)} or mobilenetv4_conv_small."
    )
