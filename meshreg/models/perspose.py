"""PersPose (ICCV 2025): joints by heat maps and depths in true perspective, a body by solving.

The network never guesses poses or cameras. It is told where each pixel looks, sees joints in the
picture, their depths and how much of the world a pixel covers; the rest is geometry.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from meshreg.body.inverse_kinematics import solve_pose
from meshreg.body.joint_estimate import NUM_JOINTS, JointEstimate
from meshreg.body.ortho_twists import LEAVES
from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.shape_from_joints import betas_from_bones, searched_first_beta
from meshreg.body.smpl import Body, BodyOutput, load_body
from meshreg.errors import InputError
from meshreg.geometry.ray_map import ray_map
from meshreg.geometry.turned_crop import Fit, How
from meshreg.models.backbones import Weights
from meshreg.models.camera import crop_K, transl_to_weak
from meshreg.models.outputs import BodyPrediction
from meshreg.models.perspose_heads import (
    OURS,
    RELEASED,
    PixelRule,
    RawOutput,
    Reading,
    averaged,
    in_camera,
    read,
)
from meshreg.models.perspose_trunks import (
    STRIDE,
    HRNetTrunk,
    MobileTrunk,
    ResNetTrunk,
    perspose_trunk,
)

# Where the first beta comes from: bone lengths, the released search, or the network itself
Stature = Literal["bones", "search", "network"]
BONE_NOISE = 0.02  # metres that regressed joints are off, per axis


@dataclass(frozen=True)
class PersPoseArchitecture:
    """Everything that decides which weights a PersPose has, and how its numbers are meant."""

    trunk: str = "hrnet_w48"
    num_betas: int = 10
    image_size: int = 256  # side of the square picture it was made for, pixels
    released: bool = False  # pixels as in released files: see perspose_heads.PixelRule
    stature: Stature = "bones"
    encoding: bool = True  # whether the network is told where its cells look
    centred: How = "none"  # how the camera turns towards a person before the picture is cut out


PERSPOSE_ARCHITECTURES: dict[str, PersPoseArchitecture] = {
    "perspose_hrnet_w48": PersPoseArchitecture(centred="minimal"),
    "perspose_hrnet_w18": PersPoseArchitecture(trunk="hrnet_w18", centred="minimal"),
    "perspose_resnet18": PersPoseArchitecture(trunk="resnet18", centred="minimal"),
    # Small enough to be trained on a CPU.
    "perspose_small": PersPoseArchitecture(
        trunk="mobilenetv4_conv_small", image_size=128, centred="minimal"
    ),
    "perspose_released": PersPoseArchitecture(
        num_betas=11, released=True, stature="search", centred="minimal"
    ),
}


@dataclass(frozen=True, eq=False)
class PersPosePrediction:
    """One body per picture, in the camera of the crop, and the joints it was solved from."""

    betas: Float[Tensor, "B S"]
    pose_rotmat: Float[Tensor, "B 24 3 3"]  # the root's rotation is in the camera frame
    transl: Float[Tensor, "B 3"]  # metres
    estimate: JointEstimate


class PersPose(nn.Module):
    """Square pictures and their intrinsics in, metric joints or whole bodies out."""

    def __init__(
        self,
        *,
        trunk: HRNetTrunk | ResNetTrunk | MobileTrunk,
        body: Body,
        architecture: PersPoseArchitecture,
    ) -> None:
        super().__init__()
        self.trunk, self.body, self.architecture = trunk, body, architecture
        self.image_size = architecture.image_size
        self.rule: PixelRule = RELEASED if architecture.released else OURS
        self.encoding = nn.Conv2d(2, trunk.encoded, 1, bias=False)
        nn.init.normal_(self.encoding.weight, std=0.01)
        self.heatmaps = nn.Conv2d(trunk.fine, NUM_JOINTS, 1)
        self.depth = nn.Linear(trunk.whole, NUM_JOINTS)
        self.density = nn.Linear(trunk.whole, 1)
        self.twists = nn.Linear(trunk.whole, NUM_JOINTS * 3)
        self.shape = nn.Linear(trunk.whole, architecture.num_betas)
        self.leaves = nn.Linear(trunk.whole, len(LEAVES) * 6)

    @property
    def centred(self) -> How:
        """How cameras turn towards people before this network is shown them."""
        return self.architecture.centred

    @property
    def fit(self) -> Fit:
        """What turned cameras show of a box; released weights are used to all of it."""
        return "whole" if self.architecture.released else "area"

    def forward(
        self,
        image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
        K: Float[Tensor, "B 3 3"],
        *,
        known_camera: Bool[Tensor, " B"] | None = None,
    ) -> JointEstimate:
        """See the joints of one body per picture, RGB in uint8 or from 0 to 1.

        K holds the picture's intrinsics. Where `known_camera` is False they are only a guess, and
        the network is not told; decoding uses them all the same.

        Raises:
            InputError: if a picture's sides do not suit the trunk, or a focal length is not
                positive.
        """
        found = self.reading(image, K, known_camera=known_camera)
        with _full_precision(image):
            return in_camera(found, K, self.rule)

    def reading(
        self,
        image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
        K: Float[Tensor, "B 3 3"],
        *,
        known_camera: Bool[Tensor, " B"] | None = None,
        mirror: bool = False,
    ) -> Reading:
        """What the network reads from a picture; `mirror` shows it the mirror image instead."""
        self._check(image, K)
        width = image.shape[-1]
        if mirror:
            image, K = image.flip(-1), self.rule.mirrored_K(K, width)
        raw = self._raw(image, K, known_camera)
        with _full_precision(image):
            found = read(raw, STRIDE, self.rule)
        return found.mirrored(width, self.rule) if mirror else found

    @torch.no_grad()
    def predict(
        self,
        image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
        K: Float[Tensor, "B 3 3"],
        *,
        known_camera: Bool[Tensor, " B"] | None = None,
        mirror: bool = True,
    ) -> PersPosePrediction:
        """Whole bodies, from the mean over the picture and its mirror image unless told otherwise.

        Raises:
            InputError: as `forward`.
        """
        found = self.reading(image, K, known_camera=known_camera)
        if mirror:
            other = self.reading(image, K, known_camera=known_camera, mirror=True)
            found = averaged(found, other)
        estimate = in_camera(found, K, self.rule)
        return solve_body(estimate, RestSkeleton.of(self.body), stature=self.architecture.stature)

    def regress(
        self,
        image: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"],
        *,
        K_full: Float[Tensor, "B 3 3"],
        box: Float[Tensor, "B 3"],
        known_camera: Bool[Tensor, " B"] | None = None,
    ) -> BodyPrediction:
        """Bodies as regressors of parameters give them: square crops `box` of a full picture.

        The crop was not turned towards the person, so it and the full picture share their camera;
        of crops that were turned, K_full is that of the turned picture.
        """
        found = self.predict(image, crop_K(K_full, box, image.shape[-1]), known_camera=known_camera)
        cam = transl_to_weak(found.transl, box.to(found.transl), K_full.to(found.transl))
        return BodyPrediction(
            betas=found.betas, pose_rotmat=found.pose_rotmat, cam=cam, transl=found.transl
        )

    def mesh(self, prediction: PersPosePrediction | BodyPrediction) -> BodyOutput:
        """The predicted body, in the frame of the camera."""
        betas = nn.functional.pad(
            prediction.betas, (0, self.body.num_betas - prediction.betas.shape[1])
        )
        return self.body(betas, prediction.pose_rotmat, prediction.transl)

    def _raw(
        self,
        image: Float[Tensor, "B 3 H W"] | UInt8[Tensor, "B 3 H W"],
        K: Float[Tensor, "B 3 3"],
        known_camera: Bool[Tensor, " B"] | None,
    ) -> RawOutput:
        x = self.trunk.normalised(image)
        size = (x.shape[-2], x.shape[-1])
        grid = (size[0] // STRIDE, size[1] // STRIDE)
        if not self.architecture.encoding:
            known_camera = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        rays = ray_map(self.rule.centred_K(K.to(x)), size, grid, known=known_camera)
        features = self.trunk(x, self.encoding(rays))
        return RawOutput(
            heatmaps=self.heatmaps(features.fine),
            depth=self.depth(features.whole),
            density=self.density(features.whole),
            twists=self.twists(features.whole),
            betas=self.shape(features.whole),
            leaves=self.leaves(features.whole),
        )

    def _check(self, image: Tensor, K: Tensor) -> None:
        stride = self.trunk.stride
        if image.shape[-2] % stride or image.shape[-1] % stride:
            raise InputError(
                f"this network needs pictures whose sides are multiples of {stride} pixels, not "
                f"{image.shape[-1]}x{image.shape[-2]}: resize them."
            )
        focal = K[:, (0, 1), (0, 1)]
        if not bool((focal > 0).all()) or not bool(K.isfinite().all()):
            raise InputError(
                f"the focal lengths of K must be positive pixels, found {focal.min():g}: give the "
                "intrinsics of the crop."
            )


def _full_precision(image: Tensor) -> torch.autocast:
    """Whatever a network runs in, places and distances need more than 8 bits."""
    return torch.autocast(image.device.type, enabled=False)


def solve_body(
    estimate: JointEstimate, skeleton: RestSkeleton, *, stature: Stature = "bones"
) -> PersPosePrediction:
    """Turn seen joints into a body; `stature` says where the first beta comes from.

    Raises:
        InputError: if a joint is not finite, or the body has fewer shape columns than betas.
    """
    joints, betas = estimate.joints_cam[:, :24], estimate.betas
    if stature == "search":
        betas = searched_first_beta(skeleton, joints, betas)
    elif stature == "bones":
        betas = betas_from_bones(skeleton, joints, betas, noise=BONE_NOISE)
    solved = solve_pose(
        skeleton,
        joints,
        betas,
        twists=estimate.twists[:, :24],
        leaf_rotmat=estimate.leaf_rotmat,
    )
    return PersPosePrediction(
        betas=betas, pose_rotmat=solved.pose_rotmat, transl=solved.transl, estimate=estimate
    )


def build_perspose(
    architecture: PersPoseArchitecture, *, body: Body | None = None, weights: Weights = None
) -> PersPose:
    """A PersPose of that architecture; without `body`, for the built-in one.

    `weights` are the trunk's: None for random ones, "pretrained" for the published ones, or a file.

    Raises:
        InputError: if the trunk is not known, its weights do not fit, or the body has fewer shape
            columns than the architecture has betas.
    """
    body = body or load_body(num_betas=architecture.num_betas)
    RestSkeleton.of(body).check_betas(architecture.num_betas)
    trunk = perspose_trunk(architecture.trunk, weights=weights)
    return PersPose(trunk=trunk, body=body, architecture=architecture)
