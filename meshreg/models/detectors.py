"""People, their 2D joints and their clothes in pictures: published networks of transformers.

RT-DETR (Zhao et al. 2024) finds people, ViTPose (Xu et al. 2022) their joints, and SegFormer (Xie
et al. 2021) trained on ATR parses what they wear. Pictures go in as uint8 tensors; how each network
wants them resized and scaled is known here and nowhere else.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.clothing.schemes import SCHEMES, to_cihp
from meshreg.errors import InputError, MissingFileError
from meshreg.models import pretrained
from meshreg.models.vision_transformers import IMAGENET_MEAN, IMAGENET_STD

PERSON = "person"
POSE_MARGIN = 1.25  # sides of a box that ViTPose sees
BLUR = 0.8  # pixels of the heat map
COCO_JOINTS = 17


@dataclass(frozen=True, eq=False)
class Found:
    """The people of one picture, the surest first."""

    boxes: Float[Tensor, "N 4"]  # left, top, right, bottom, pixels whose centres are integers
    scores: Float[Tensor, " N"]  # 0..1


class Detector(ABC):
    """What the three detectors share: published weights, and the device of their network."""

    repository: ClassVar[str]
    purpose: ClassVar[str]  # what it is for, in words for the user
    option: ClassVar[str]  # of the command, which takes a folder of weights

    def __init__(self, network: nn.Module) -> None:
        self.network: Any = network.eval()
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Refuse networks for another purpose, with a ValueError."""

    @classmethod
    @abstractmethod
    def kind(cls) -> Any:
        """The class of transformers that the weights belong to."""

    @classmethod
    def load(cls, folder: Path | None = None, *, device: str = "cpu") -> Any:
        """The detector with weights from a folder, or published ones, cached or fetched.

        Raises:
            MissingFileError: if there are no weights and they cannot be had.
            InputError: if the folder holds something else.
        """
        source = folder or pretrained.folder_of(cls.repository)
        if source is None:
            raise MissingFileError(
                f"{cls.purpose} needs the weights of {cls.repository}, which are not on this "
                "machine and cannot be fetched now: download its config.json and "
                f"model.safetensors into a folder and give that with {cls.option}."
            )
        if not source.is_dir():
            raise MissingFileError(f"no folder of weights at {source}: check {cls.option}.")
        try:
            return cls(pretrained.read_network(cls.kind(), source).to(device))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(
                f"{source} does not hold weights for {cls.purpose} ({type(error).__name__}): give "
                f"a folder with config.json and model.safetensors of {cls.repository}."
            ) from error

    @classmethod
    def cached(cls) -> bool:
        """Whether the published weights are on this machine."""
        return pretrained.is_cached(cls.repository)

    def _scaled(self, image: Tensor, *, like_imagenet: bool) -> Tensor:
        """A picture from 0 to 1 on the network's device, with ImageNet's mean taken out or not."""
        pixels = image.to(self.network.device).float() / 255
        if not like_imagenet:
            return pixels
        mean, std = (pixels.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (pixels - mean) / std


class PersonDetector(Detector):
    """RT-DETR: where the people are."""

    repository = "PekingU/rtdetr_r50vd_coco_o365"
    purpose = "finding people"
    option = "--detector"
    size = (640, 640)

    @classmethod
    def kind(cls) -> Any:
        from transformers import RTDetrForObjectDetection

        return RTDetrForObjectDetection

    def check(self) -> None:
        if PERSON not in self.network.config.label2id:
            raise ValueError("knows no people")

    @torch.inference_mode()
    def __call__(self, image: UInt8[Tensor, "3 H W"], *, threshold: float = 0.5) -> Found:
        """The people whose score is above the threshold; one box each, the network saw to that."""
        pixels = self._scaled(_resized(image, self.size), like_imagenet=False)
        output = self.network(pixel_values=pixels[None])
        scores = output.logits[0, :, self.network.config.label2id[PERSON]].sigmoid()
        scores, order = scores.sort(descending=True)
        order = order[scores > threshold]
        centre, extent = output.pred_boxes[0, order].split(2, dim=1)
        sides = extent.new_tensor([image.shape[2], image.shape[1]])
        corners = [(centre + sign * extent / 2) * sides - 0.5 for sign in (-1, 1)]
        return Found(boxes=torch.cat(corners, 1).cpu(), scores=scores[: len(order)].cpu())


class KeypointDetector(Detector):
    """ViTPose: COCO's 17 joints of people whose boxes are known."""

    repository = "usyd-community/vitpose-base-simple"
    purpose = "finding 2D joints"
    option = "--keypoint-detector"

    @classmethod
    def kind(cls) -> Any:
        from transformers import VitPoseForPoseEstimation

        return VitPoseForPoseEstimation

    def check(self) -> None:
        if self.network.config.num_labels != COCO_JOINTS:
            raise ValueError(f"{self.network.config.num_labels} joints")

    @torch.inference_mode()
    def __call__(
        self, image: UInt8[Tensor, "3 H W"], boxes: Float[Tensor, "N 4"]
    ) -> Float[Tensor, "N 17 3"]:
        """x, y in pixels and a confidence from 0 to 1 for every joint of every box."""
        if not len(boxes):
            return boxes.new_zeros(0, COCO_JOINTS, 3)
        height, width = self.network.config.backbone_config.image_size
        centre, extent = _view(boxes, width / height)
        pixels = self._scaled(image, like_imagenet=False)
        crops = torch.cat(
            [_crop(pixels, *v, (height, width)) for v in zip(centre, extent, strict=True)]
        )
        mean, std = (crops.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        experts = torch.zeros(len(crops), dtype=torch.long, device=crops.device)  # COCO's is first
        several = self.network.config.backbone_config.num_experts > 1
        heat = self.network((crops - mean) / std, dataset_index=experts if several else None)
        places, confidence = peaks(heat.heatmaps.float().cpu())
        ends = places.new_tensor([heat.heatmaps.shape[3] - 1, heat.heatmaps.shape[2] - 1])
        points = centre[:, None] + (places / ends - 0.5) * extent[:, None]
        return torch.cat([points, confidence.clamp(0, 1)[..., None]], -1)


class ClothingParser(Detector):
    """SegFormer trained on ATR: what a person wears where."""

    repository = "mattmdjaga/segformer_b2_clothes"
    purpose = "parsing clothes"
    option = "--parser"
    scheme = "atr"
    size = (512, 512)

    @classmethod
    def kind(cls) -> Any:
        from transformers import SegformerForSemanticSegmentation

        return SegformerForSemanticSegmentation

    def check(self) -> None:
        if self.network.config.num_labels != len(SCHEMES[self.scheme]):
            raise ValueError(f"{self.network.config.num_labels} classes")

    @torch.inference_mode()
    def __call__(self, image: UInt8[Tensor, "3 H W"]) -> UInt8[Tensor, "H W"]:
        """CIHP ids of every pixel; 255 is unknown."""
        pixels = self._scaled(_resized(image, self.size), like_imagenet=True)
        logits = self.network(pixel_values=pixels[None]).logits.float()
        ids = F.interpolate(logits, image.shape[1:], mode="bilinear").argmax(1)[0]
        return to_cihp(ids.cpu(), self.scheme).to(torch.uint8)


def _resized(image: UInt8[Tensor, "3 H W"], size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """Resized with averaging where it shrinks, as Pillow does, and rounded as there."""
    resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)
    return resized[0]


def _view(
    boxes: Float[Tensor, "N 4"], aspect: float
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2"]]:
    """Centre and sides of what ViTPose sees of each box: at its aspect (width over height)."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    height = torch.maximum(height, width / aspect)
    return centre, POSE_MARGIN * torch.stack([height * aspect, height], 1)


def _crop(
    pixels: Float[Tensor, "3 H W"],
    centre: Float[Tensor, "2"],
    extent: Float[Tensor, "2"],
    size: tuple[int, int],
) -> Float[Tensor, "1 3 h w"]:
    """The view, resampled; its first and last pixel centres lie on its borders (Huang et al. 2020).

    Beyond the picture's border it is black.
    """
    sides = [torch.linspace(-0.5, 0.5, side, device=pixels.device) for side in size]
    x = (centre[0] + sides[1] * extent[0]) / (pixels.shape[2] - 1) * 2 - 1
    y = (centre[1] + sides[0] * extent[1]) / (pixels.shape[1] - 1) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return F.grid_sample(pixels[None], grid[None], align_corners=True)


def peaks(
    heat: Float[Tensor, "N J h w"],
) -> tuple[Float[Tensor, "N J 2"], Float[Tensor, "N J"]]:
    """Where each heat map peaks, between the pixels, and how high (Zhang et al. 2020, DARK).

    The blurred map's logarithm is taken for a parabola around its highest pixel.
    """
    height, width = heat.shape[-2:]
    confidence, highest = heat.flatten(2).max(-1)
    log = F.pad(_blurred(heat).clamp(1e-3, 50).log(), (1, 1, 1, 1), mode="replicate").flatten(2)
    middle = (highest // width + 1) * (width + 2) + highest % width + 1

    def at(right: int, down: int) -> Tensor:
        return log.gather(-1, (middle + right + down * (width + 2))[..., None])[..., 0]

    slope = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1) / 2
    xx, yy = at(1, 0) - 2 * at(0, 0) + at(-1, 0), at(0, 1) - 2 * at(0, 0) + at(0, -1)
    xy = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    # A map without a peak, such as a flat one, has nothing to refine: it stays at its pixel.
    sharp = (xx < 0) & (xx * yy - xy * xy > 1e-9)
    determinant = torch.where(sharp, xx * yy - xy * xy, 1.0)
    step_x = (yy * slope[..., 0] - xy * slope[..., 1]) / determinant
    step_y = (xx * slope[..., 1] - xy * slope[..., 0]) / determinant
    step = torch.where(sharp[..., None], torch.stack([step_x, step_y], -1), 0.0).clamp(-1, 1)
    whole = torch.stack([highest % width, highest // width], -1).to(heat)
    return whole - step, confidence


def _blurred(heat: Float[Tensor, "N J h w"]) -> Float[Tensor, "N J h w"]:
    reach = torch.arange(-5, 6, dtype=heat.dtype, device=heat.device)
    weight = torch.exp(-0.5 * (reach / BLUR) ** 2)
    weight = weight / weight.sum()
    flat = _mirrored(_mirrored(heat.flatten(0, 1)[:, None], 2), 3)
    flat = F.conv2d(F.conv2d(flat, weight[None, None, :, None]), weight[None, None, None])
    return flat.reshape(heat.shape)


def _mirrored(x: Tensor, dim: int) -> Tensor:
    """Five more rows on either side, as if a mirror stood on the border."""
    first, last = x.narrow(dim, 0, 5), x.narrow(dim, x.shape[dim] - 5, 5)
    return torch.cat([first.flip(dim), x, last.flip(dim)], dim)
