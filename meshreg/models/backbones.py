"""Feature extractors by name: pictures in, a coarse map of features out.

Networks come from timm; transformers that timm lacks come from `vision_transformers`. Weights are
fetched only on request.
"""

import logging
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from meshreg.errors import InputError, MissingFileError
from meshreg.models import pretrained, vision_transformers
from meshreg.models.torch_files import read_torch_file

MAP_STRIDES = (8, 16, 32)  # of `Backbone.maps`, pixels
Weights = str | Path | None  # "pretrained", a file, or nothing: random
Extract = Callable[[nn.Module, Tensor], Tensor]

# timm knows a thousand names; these are the ones that tests run. Any other may work as well.
TESTED = (
    "resnet18",
    "resnet34",
    "resnet50",
    "hrnet_w18",
    "hrnet_w32",
    "hrnet_w48",
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_medium",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_small_patch16_224",
)
_TOKEN_FAMILIES = ("vit_", "deit", "eva")  # they put out a row of tokens, not a map
# What published files hold besides: layers that follow the pooling.
_CLASSIFIER = ("fc.", "classifier.", "head.", "head_dist.", "conv_head.", "norm_head.")
_WANTED = frozenset(MAP_STRIDES)
_LOG = logging.getLogger(__name__)


class Backbone(nn.Module):
    """A network that turns RGB pictures into maps of `channels` features, `stride` pixels apart.

    Pictures are uint8, or floats from 0 to 1; the normalisation that the network expects is inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        network: nn.Module,
        extract: Extract,
        channels: int,
        stride: int,
        map_channels: tuple[int, ...] = (),
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.network, self.extract = network, extract
        self.channels, self.stride, self.map_channels = channels, stride, map_channels
        # Constants of the architecture, so they are not stored with the weights.
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(
        self, image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"]
    ) -> Float[Tensor, "B C h w"]:
        return self.extract(self.network, self._normalised(image))

    def maps(
        self, image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"]
    ) -> list[Float[Tensor, "B _ _ _"]]:
        """Features at the resolutions of `MAP_STRIDES`, from fine to coarse."""
        assert self.map_channels, "check map_channels before asking for maps"
        network: Any = self.network
        found = network.forward_intermediates(self._normalised(image), intermediates_only=True)
        return found[-len(self.map_channels) :]

    def _normalised(self, image: Tensor) -> Float[Tensor, "B 3 H W"]:
        if image.shape[-2] % self.stride or image.shape[-1] % self.stride:
            raise InputError(
                f"this backbone needs pictures whose sides are multiples of {self.stride} pixels, "
                f"not {image.shape[-1]}x{image.shape[-2]}: resize them."
            )
        # With neighbouring channels side by side light convolutions run half as long on CPUs.
        x = image.to(self.mean.dtype, memory_format=torch.channels_last)
        if image.dtype == torch.uint8:
            x = x / 255
        return (x - self.mean) / self.std


def backbone(name: str, *, weights: Weights = None) -> Backbone:
    """A backbone by name, with random weights, with those its authors published, or from a file.

    With "pretrained", weights that are neither cached nor reachable stay random, with a warning.

    Raises:
        InputError: if nothing is known by that name, or a file does not fit.
        MissingFileError: if a file was given that is not there.
    """
    if isinstance(weights, str) and weights != "pretrained":
        weights = Path(weights)
    if isinstance(weights, Path) and not weights.exists():
        raise MissingFileError(
            f'no weights for {name} at {weights}: check the path, or ask for "pretrained".'
        )
    parts = _transformer(name, weights) if name in vision_transformers.SIZES else None
    return Backbone(**(parts or _timm(name, weights)))


def _transformer(name: str, weights: Weights) -> dict[str, Any]:
    folder = weights if isinstance(weights, Path) else None
    if weights == "pretrained":
        folder = vision_transformers.cached_or_reachable(name)
        if folder is None:
            _warn_random(name, vision_transformers.hub_name(name), "the folder")
    return vision_transformers.build(name, folder)


def _timm(name: str, weights: Weights) -> dict[str, Any]:
    import timm

    if not timm.is_model(name):
        raise InputError(_unknown(name))
    is_tokens = name.startswith(_TOKEN_FAMILIES)
    options: dict[str, Any] = {"dynamic_img_size": True} if is_tokens else {}
    network: Any = timm.create_model(name, num_classes=0, global_pool="", **options)
    for part in _unused(network):
        # Left in place they would be stored and never trained.
        setattr(network, part, nn.Identity())
    file = _published_file(name) if weights == "pretrained" else weights
    assert not isinstance(file, str), file
    if file is not None:
        _fill(name, network, file)
    config = network.pretrained_cfg
    return {
        "network": network,
        "extract": _timm_tokens if is_tokens else _timm_map,
        "channels": network.num_features,
        "stride": network.feature_info[-1]["reduction"],
        "map_channels": _map_channels(network),
        "mean": config["mean"],
        "std": config["std"],
    }


def _map_channels(network: Any) -> tuple[int, ...]:
    """Channels of the maps at `MAP_STRIDES`; none for networks that lack one of them."""
    channels = {info["reduction"]: info["num_chs"] for info in network.feature_info}
    return tuple(channels[stride] for stride in MAP_STRIDES) if channels.keys() >= _WANTED else ()


def _unused(network: Any) -> list[str]:
    """The layers that networks of some families apply only after the pooling, which is not ours."""
    from timm.models.convnext import ConvNeXt
    from timm.models.mobilenetv3 import MobileNetV3

    if isinstance(network, MobileNetV3):
        return ["conv_head", "norm_head"]
    return ["head"] if isinstance(network, ConvNeXt) else []


def _fill(name: str, network: nn.Module, file: Path) -> None:
    """Load a file completely; timm's own loader would leave gaps random without a word."""
    if file.suffix == ".safetensors":
        tensors: Any = pretrained.read_safetensors(file)
    else:
        tensors = read_torch_file(file)
        tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else {}
    wanted = network.state_dict()
    found = {
        key: value
        for key, value in tensors.items()
        if key in wanted or not key.startswith(_CLASSIFIER)
    }
    wrong = sorted(set(found) ^ set(wanted)) or [
        key for key in wanted if found[key].shape != wanted[key].shape
    ]
    if wrong:
        raise InputError(
            f"{file} does not hold weights of {name}, it differs at {wrong[0]} for example: give "
            "the file that timm publishes for it."
        )
    network.load_state_dict(found)


def _published_file(name: str) -> Path | None:
    import timm

    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config else None
    file = pretrained.fetch(repository, "model.safetensors") if repository else None
    if file is None:
        _warn_random(name, repository or name, "model.safetensors")
    return file


def _warn_random(name: str, repository: str, what: str) -> None:
    _LOG.warning(
        "the published weights of %s are neither cached nor reachable, so they are random: "
        "get %s of %s from %s and pass its path as weights.",
        name,
        what,
        repository,
        pretrained.hub_address(),
    )


def _timm_map(network: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
    return network.forward_features(x)


def _timm_tokens(network: Any, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
    rows = x.shape[-2] // network.patch_embed.patch_size[0]
    tokens = network.forward_features(x)[:, network.num_prefix_tokens :]
    return tokens.transpose(1, 2).unflatten(2, (rows, -1))


def _unknown(name: str) -> str:
    known = (*TESTED, *vision_transformers.SIZES)
    close = get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}."
    return f"{name!r} is not a backbone: {hint}"
