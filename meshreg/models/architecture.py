"""The numbers of every regressor: what a file has to say so that it can be built again."""

from dataclasses import dataclass
from typing import Literal

from meshreg.geometry.turned_crop import How


@dataclass(frozen=True)
class Architecture:
    """Everything that decides which weights a regressor has; what a checkpoint stores."""

    backbone: str
    head: Literal["iterative", "decoder", "joint_maps"] = "iterative"
    width: int = 1024  # of the head's layers
    depth: int = 3  # iterations, or layers of the decoder or among joints
    num_heads: int = 8  # of attention in the decoder and among joints
    dropout: float = 0.5
    conditioned: bool = False  # whether the head is told the box and the camera
    image_size: int = 224  # side of the square picture it was made for, pixels
    num_betas: int = 10
    # Whether features are told where their cells look (perspective encoding); zero if K is unknown
    encoding: bool = False
    centred: How = "none"  # how the camera turns towards a person before the picture is cut out


ARCHITECTURES: dict[str, Architecture] = {
    # SPIN, EFT and DSR (Dwivedi et al. 2021)
    "hmr_resnet50": Architecture(backbone="resnet50"),
    "hmr_resnet18": Architecture(backbone="resnet18", dropout=0.1),
    # Small enough to be trained and run on a CPU.
    "hmr_small": Architecture(
        backbone="mobilenetv4_conv_small",
        head="joint_maps",
        width=128,
        num_heads=4,
        dropout=0.0,
        image_size=128,
    ),
    # A small version of HMR 2.0 (Goel et al. 2023), which has a ViT-H and six layers of 1024
    "hmr_vit_decoder": Architecture(
        backbone="vit_small_patch16_224", head="decoder", width=512, dropout=0.0
    ),
}
