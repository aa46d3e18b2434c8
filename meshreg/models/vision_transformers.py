"""ViTPose and DINO: vision transformers that come from the transformers library."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.errors import InputError
from meshreg.models import pretrained

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Size(NamedTuple):
    """What makes one published network differ from its siblings."""

    repository: str
    width: int
    depth: int
    num_heads: int
    stride: int
    experts: int = 1  # ViTPose+: networks inside the network, one for each data set
    registers: int = 0  # DINOv3: tokens besides those of the picture
    mlp_ratio: int = 4


SIZES: dict[str, Size] = {
    "vitpose_base": Size("usyd-community/vitpose-base-simple", 768, 12, 12, 16),
    "vitpose_plus_small": Size("usyd-community/vitpose-plus-small", 384, 12, 12, 16, experts=6),
    "vitpose_plus_base": Size("usyd-community/vitpose-plus-base", 768, 12, 12, 16, experts=6),
    "vitpose_plus_large": Size("usyd-community/vitpose-plus-large", 1024, 24, 16, 16, experts=6),
    "vitpose_plus_huge": Size("usyd-community/vitpose-plus-huge", 1280, 32, 16, 16, experts=6),
    "dinov2_small": Size("facebook/dinov2-small", 384, 12, 6, 14),
    "dinov2_base": Size("facebook/dinov2-base", 768, 12, 12, 14),
    "dinov2_large": Size("facebook/dinov2-large", 1024, 24, 16, 14),
    "dinov3_small": Size("facebook/dinov3-vits16-pretrain-lvd1689m", 384, 12, 6, 16, registers=4),
    "dinov3_base": Size("facebook/dinov3-vitb16-pretrain-lvd1689m", 768, 12, 12, 16, registers=4),
    "dinov3_large": Size("facebook/dinov3-vitl16-pretrain-lvd1689m", 1024, 24, 16, 16, registers=4),
}


def hub_name(name: str) -> str:
    return SIZES[name].repository


def cached_or_reachable(name: str) -> Path | None:
    """The folder of a published network with its config and weights, or None."""
    return pretrained.folder_of(hub_name(name))


def build(name: str, folder: Path | None) -> dict[str, Any]:
    """The parts of a `Backbone`; weights from a folder in transformers' layout, else random.

    Raises:
        InputError: if the folder holds another network.
    """
    size = SIZES[name]
    family = name.partition("_")[0]
    make = {"vitpose": _vitpose, "dinov2": _dinov2, "dinov3": _dinov3}[family]
    try:
        network = make(size, folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{folder} does not hold weights of {name} ({type(error).__name__}): give a folder "
            f"with config.json and model.safetensors of {size.repository}."
        ) from error
    return {
        "network": network,
        "extract": _vitpose_map if family == "vitpose" else _dino_map,
        "channels": size.width,
        "stride": size.stride,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }


def _vitpose(size: Size, folder: Path | None) -> nn.Module:
    from transformers import VitPoseBackbone, VitPoseBackboneConfig, VitPoseForPoseEstimation

    if folder is not None:  # the published files hold the decoder of heat maps as well
        whole = pretrained.read_network(VitPoseForPoseEstimation, folder)
        return _checked(whole.backbone, size)
    config = VitPoseBackboneConfig(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        num_experts=size.experts,
        part_features=size.width // 4 if size.experts > 1 else 0,
    )
    return VitPoseBackbone(config)


def _dinov2(size: Size, folder: Path | None) -> nn.Module:
    from transformers import Dinov2Config, Dinov2Model

    if folder is not None:
        return _checked(pretrained.read_network(Dinov2Model, folder), size)
    config = Dinov2Config(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        image_size=518,
    )
    return _checked(Dinov2Model(config), size)


def _dinov3(size: Size, folder: Path | None) -> nn.Module:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    if folder is not None:
        return _checked(pretrained.read_network(DINOv3ViTModel, folder), size)
    config = DINOv3ViTConfig(
        hidden_size=size.width,
        intermediate_size=size.mlp_ratio * size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        num_register_tokens=size.registers,
    )
    return _checked(DINOv3ViTModel(config), size)


def _checked(network: Any, size: Size) -> nn.Module:
    """The network, after making sure of its size, and with nothing to train that is never used."""
    found = (network.config.hidden_size, network.config.num_hidden_layers)
    if found != (size.width, size.depth):
        raise ValueError(f"width and depth {found}")
    mask_token = getattr(network.embeddings, "mask_token", None)
    if mask_token is not None:
        mask_token.requires_grad_(False)
    return network.train()  # as new ones are


def _dino_map(network: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
    rows = x.shape[-2] // network.config.patch_size
    special = 1 + getattr(network.config, "num_register_tokens", 0)
    tokens = network(x).last_hidden_state[:, special:]
    return tokens.transpose(1, 2).unflatten(2, (rows, -1))


def _vitpose_map(network: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
    """As the network's own forward, which accepts no other size than that of its training."""
    patches = network.embeddings.patch_embeddings.projection(x)
    places = _resized_places(network, patches.shape[-2:])
    tokens = (patches + places).flatten(2).transpose(1, 2)
    dataset = torch.zeros(len(x), dtype=torch.long, device=x.device)  # COCO, the first expert
    found = network.encoder(tokens, dataset_index=dataset).last_hidden_state
    return network.layernorm(found).transpose(1, 2).unflatten(2, patches.shape[-2:])


def _resized_places(network: Any, grid: torch.Size) -> Float[Tensor, "1 C h w"]:
    embeddings = network.embeddings.position_embeddings
    height, width = (side // network.config.patch_size[0] for side in network.config.image_size)
    places = embeddings[:, 1:].transpose(1, 2).unflatten(2, (height, width))
    if (height, width) != tuple(grid):
        places = F.interpolate(places, size=tuple(grid), mode="bicubic", align_corners=False)
    return places + embeddings[:, :1, :, None].transpose(1, 2)
