"""Human mesh recovery: a picture of a person in, a body in front of a camera out.

Parts go in here; `builders` knows which parts make which network.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from meshreg.body.smpl import Body, BodyOutput
from meshreg.errors import InputError
from meshreg.geometry.rotations import rot6d_to_rotmat
from meshreg.geometry.turned_crop import Fit, How
from meshreg.models.architecture import Architecture
from meshreg.models.backbones import Backbone
from meshreg.models.camera import box_condition, crop_camera, crop_K, weak_to_transl
from meshreg.models.decoder_head import DecoderHead
from meshreg.models.doubts import DoubtCalibration
from meshreg.models.heads import IterativeHead
from meshreg.models.joint_head import JointMapHead
from meshreg.models.outputs import BodyPrediction, BodyState
from meshreg.models.perspective_encoding import PerspectiveEncoding


class HMR(nn.Module):
    """A backbone, a head that reads a body off its features, and the body itself.

    `architecture` says what the parts were made from, if `builders.build_hmr` made them; files of
    weights need it.
    """

    architecture: Architecture | None = None
    doubts: DoubtCalibration | None = None  # how wrong its answers are; files may tell

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: IterativeHead | DecoderHead | JointMapHead,
        body: Body,
        image_size: int = 224,
        encodings: Sequence[PerspectiveEncoding] = (),
    ) -> None:
        """`encodings` are for the maps that the head is given, from fine to coarse; or none."""
        super().__init__()
        self.backbone, self.head, self.body = backbone, head, body
        self.image_size = image_size
        self.encodings = nn.ModuleList(encodings)

    @property
    def centred(self) -> How:
        """How cameras turn towards people before this network is shown them."""
        return self.architecture.centred if self.architecture is not None else "none"

    @property
    def fit(self) -> Fit:
        """What turned cameras show of a box: people keep their size."""
        return "area"

    def forward(
        self,
        image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
        *,
        K_full: Float[Tensor, "B 3 3"] | None = None,
        box: Float[Tensor, "B 3"] | None = None,
        known_camera: Bool[Tensor, " B"] | None = None,
        keep_steps: bool = False,
    ) -> BodyPrediction:
        """Regress one body per square picture, RGB in uint8 or from 0 to 1.

        `box` is the centre and side of the picture in the full one, whose intrinsics `K_full` is
        (pixels of the full picture). Without them the picture counts as taken from far away. Where
        `known_camera` is False, K_full is only a guess, which encodings keep to themselves.

        Raises:
            InputError: if only one of the two is given, or a network that needs them gets none.
        """
        if K_full is None and len(self.encodings):
            known_camera = torch.zeros(len(image), dtype=torch.bool, device=image.device)
        K_full, box = self._view(image, K_full, box)
        condition = box_condition(box, K_full) if self.head.num_condition else None
        many = isinstance(self.head, JointMapHead)
        maps = self.backbone.maps(image) if many else [self.backbone(image)]
        if len(self.encodings):
            maps = self._encoded(maps, K_full, box, known_camera)
        states = self.head(maps if many else maps[0], condition)
        kept = states if keep_steps else states[-1:]
        steps = tuple(_prediction(state, K_full, box) for state in kept)
        return replace(steps[-1], steps=steps if keep_steps else ())

    def mesh(self, prediction: BodyPrediction) -> BodyOutput:
        """The predicted body, in the frame of the camera."""
        return self.body(prediction.betas, prediction.pose_rotmat, prediction.transl)

    def _encoded(
        self,
        maps: list[Tensor],
        K_full: Float[Tensor, "B 3 3"],
        box: Float[Tensor, "B 3"],
        known: Bool[Tensor, " B"] | None,
    ) -> list[Tensor]:
        """The maps of features, told where their cells look."""
        told = []
        for encode, features in zip(self.encodings, maps, strict=True):
            assert isinstance(encode, PerspectiveEncoding)
            K = crop_K(K_full, box, encode.image_size[0])  # rays are the same at any size
            told.append(encode(features, K, known))
        return told

    def _view(
        self, image: Tensor, K_full: Tensor | None, box: Tensor | None
    ) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3"]]:
        if (K_full is None) != (box is None):
            raise InputError("give both K_full and box, or neither: each means nothing alone.")
        if K_full is not None and box is not None:
            return K_full, box
        if self.head.num_condition:
            raise InputError(
                "this regressor was made to know the camera: pass K_full (a guess will do, see "
                "meshreg.geometry.cameras.guess_camera) and box."
            )
        K_full, box = crop_camera(len(image), image.shape[-1])
        return K_full.to(self.backbone.mean), box.to(self.backbone.mean)


def made_for(model: HMR, image_size: int, centred: How = "none") -> None:
    """Note what pictures a model learns from, and how they are cut: prediction shows it such."""
    model.image_size = image_size
    if model.architecture is not None:
        model.architecture = replace(model.architecture, image_size=image_size, centred=centred)


def _prediction(
    state: BodyState, K_full: Float[Tensor, "B 3 3"], box: Float[Tensor, "B 3"]
) -> BodyPrediction:
    # Rotations and depths lose too much in half precision, whatever the network ran in.
    pose, betas, cam = (_at_least_single(x) for x in (state.pose_rot6d, state.betas, state.cam))
    return BodyPrediction(
        betas=betas,
        pose_rotmat=rot6d_to_rotmat(pose.unflatten(1, (24, 6))),
        cam=cam,
        transl=weak_to_transl(cam, box.to(cam), K_full.to(cam)),
        evidence=state.evidence,
    )


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
