"""The regressors by name, put together from an architecture, a body and a mean to start from."""

from dataclasses import replace
from typing import Any

from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError
from meshreg.models.architecture import ARCHITECTURES, Architecture
from meshreg.models.backbones import Backbone, Weights, backbone
from meshreg.models.decoder_head import DecoderHead
from meshreg.models.heads import IterativeHead
from meshreg.models.hmr import HMR
from meshreg.models.joint_head import JointMapHead
from meshreg.models.outputs import BodyState
from meshreg.models.perspective_encoding import PerspectiveEncoding
from meshreg.models.start import upright_start

SMALL_BACKBONE = "mobilenetv4_conv_small"
NUM_CONDITION = 3  # numbers in `camera.box_condition`


def build_hmr(
    architecture: Architecture,
    *,
    body: Body | None = None,
    start: BodyState | None = None,
    weights: Weights = None,
) -> HMR:
    """A regressor of that architecture; without `body`, for the built-in one.

    `start` is the mean body that the head corrects. `weights` are the backbone's: None for random
    ones, "pretrained" for the published ones, or a file.

    Raises:
        InputError: if the backbone is not known or its weights do not fit.
    """
    size = architecture
    body = body or load_body(num_betas=size.num_betas)
    start = start or upright_start(num_betas=size.num_betas)
    _check_betas(size.num_betas, body.num_betas, start.betas.shape[1])
    trunk = backbone(size.backbone, weights=weights)
    num_condition = NUM_CONDITION if size.conditioned else 0
    head: IterativeHead | DecoderHead | JointMapHead
    if size.head == "iterative":
        head = IterativeHead(
            in_channels=trunk.channels,
            start=start,
            num_iterations=size.depth,
            hidden=size.width,
            dropout=size.dropout,
            num_condition=num_condition,
        )
    else:
        attentive: dict[str, Any] = {
            "start": start,
            "width": size.width,
            "depth": size.depth,
            "num_heads": size.num_heads,
            "dropout": size.dropout,
            "num_condition": num_condition,
        }
        if size.head == "decoder":
            head = DecoderHead(in_channels=trunk.channels, **attentive)
        else:
            head = JointMapHead(in_channels=_resolutions(size.backbone, trunk), **attentive)
    encodings = _encodings(size, trunk) if size.encoding else ()
    model = HMR(
        backbone=trunk, head=head, body=body, image_size=size.image_size, encodings=encodings
    )
    model.architecture = size
    return model


def _encodings(size: Architecture, trunk: Backbone) -> tuple[PerspectiveEncoding, ...]:
    """One for each map that the head is given."""
    channels = trunk.map_channels if size.head == "joint_maps" else (trunk.channels,)
    return tuple(PerspectiveEncoding(channels=c, image_size=size.image_size) for c in channels)


def _resolutions(name: str, trunk: Backbone) -> tuple[int, ...]:
    if not trunk.map_channels:
        raise InputError(
            f"{name} has features at one resolution only, and this head looks for joints at "
            f"several: use a convolutional backbone, such as {SMALL_BACKBONE}."
        )
    return trunk.map_channels


def _check_betas(wanted: int, *found: int) -> None:
    if any(number != wanted for number in found):
        raise InputError(
            f"the architecture has {wanted} betas, the body and the start have "
            f"{' and '.join(map(str, found))}: use one number for all (load_body(num_betas=...))."
        )


def hmr_resnet50(
    *,
    body: Body | None = None,
    start: BodyState | None = None,
    weights: Weights = None,
    conditioned: bool = False,
    encoding: bool = False,
) -> HMR:
    """ResNet-50 and the iterative head: the network of released checkpoints, if told nothing."""
    told = {"conditioned": conditioned, "encoding": encoding}
    return _named("hmr_resnet50", body, start, weights, told)


def hmr_resnet18(
    *,
    body: Body | None = None,
    start: BodyState | None = None,
    weights: Weights = None,
    conditioned: bool = False,
    encoding: bool = False,
) -> HMR:
    """ResNet-18 and the iterative head, which also learn from pictures of 128 pixels."""
    told = {"conditioned": conditioned, "encoding": encoding}
    return _named("hmr_resnet18", body, start, weights, told)


def hmr_small(
    *,
    body: Body | None = None,
    start: BodyState | None = None,
    weights: Weights = None,
    conditioned: bool = False,
    encoding: bool = False,
) -> HMR:
    """MobileNetV4 and the head that looks for joints first: made for CPUs and 128 pixels."""
    told = {"conditioned": conditioned, "encoding": encoding}
    return _named("hmr_small", body, start, weights, told)


def hmr_vit_decoder(
    *,
    body: Body | None = None,
    start: BodyState | None = None,
    weights: Weights = None,
    conditioned: bool = False,
    encoding: bool = False,
) -> HMR:
    """A vision transformer and the decoder head."""
    told = {"conditioned": conditioned, "encoding": encoding}
    return _named("hmr_vit_decoder", body, start, weights, told)


def _named(
    name: str,
    body: Body | None,
    start: BodyState | None,
    weights: Weights,
    told: dict[str, Any],
) -> HMR:
    """The architecture of that name; `told` says what it is to know of the camera."""
    architecture = replace(ARCHITECTURES[name], **told)
    return build_hmr(architecture, body=body, start=start, weights=weights)
