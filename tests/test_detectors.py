"""Detectors: tiny random networks of the real kinds, compared with transformers' own processors."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from stub_detectors import install
from torch import Tensor
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)
from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

from meshreg.clothing.schemes import to_cihp
from meshreg.errors import InputError, MissingFileError
from meshreg.models import pretrained
from meshreg.models.detectors import (
    ClothingParser,
    Detector,
    KeypointDetector,
    PersonDetector,
    peaks,
)
from meshreg.predictor.detect import find_keypoints, parse_clothes

KINDS: tuple[type[Detector], ...] = (PersonDetector, KeypointDetector, ClothingParser)


def tiny_detr(labels: tuple[str, ...] = ("cat", "person", "dog")) -> RTDetrForObjectDetection:
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=20,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
    )
    network = RTDetrForObjectDetection(config)
    for weight in network.parameters():  # new ones say the same of everything
        if weight.ndim >= 2:
            torch.nn.init.normal_(weight, std=0.3)
    return network


def tiny_vitpose(num_labels: int = 17, num_experts: int = 1) -> VitPoseForPoseEstimation:
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[1],
        num_experts=num_experts,
        part_features=4,
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=num_labels)
    return VitPoseForPoseEstimation(config)


def tiny_segformer(num_labels: int = 18) -> SegformerForSemanticSegmentation:
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=16,
        num_labels=num_labels,
    )
    return SegformerForSemanticSegmentation(config)


def tiny(kind: type[Detector]) -> torch.nn.Module:
    makers = {
        PersonDetector: tiny_detr,
        KeypointDetector: tiny_vitpose,
        ClothingParser: tiny_segformer,
    }
    return makers[kind]()


@pytest.fixture(scope="module")
def image() -> Tensor:
    """A picture with large and small shapes."""
    y, x = np.mgrid[:150, :210]
    waves = [
        127 + 60 * np.sin(x / a + y / b) + 60 * np.cos(x / b)
        for a, b in ((9, 21), (30, 7), (14, 50))
    ]
    return torch.from_numpy(np.stack(waves).astype(np.uint8))


# --- the same as the library's own way ------------------------------------------------------------
@torch.no_grad()
def test_people_are_those_of_the_librarys_processor(image: Tensor) -> None:
    network = tiny_detr().eval()
    inputs = RTDetrImageProcessor()(images=image, return_tensors="pt")
    threshold = 0.0
    output = network(**inputs)
    scores = output.logits[0, :, 1].sigmoid()
    order = scores.argsort(descending=True)
    boxes = RTDetrImageProcessor().post_process_object_detection(
        type("Output", (), {"logits": output.logits[:, :, 1:2], "pred_boxes": output.pred_boxes})(),
        threshold=threshold,
        target_sizes=[(150, 210)],
    )[0]
    found = PersonDetector(network)(image, threshold=threshold)
    torch.testing.assert_close(found.scores, scores[order], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.scores, boxes["scores"], atol=1e-4, rtol=1e-3)
    # Pixel centres are integers here, pixel corners there.
    torch.testing.assert_close(found.boxes + 0.5, boxes["boxes"], atol=0.05, rtol=0)
    middle = float(scores.median())
    assert 0 < len(PersonDetector(network)(image, threshold=middle).boxes) < 20


@torch.no_grad()
@pytest.mark.parametrize("num_experts", [1, 6])
def test_joints_are_those_of_the_librarys_processor(image: Tensor, num_experts: int) -> None:
    network = tiny_vitpose(num_experts=num_experts).eval()
    boxes = torch.tensor([[60.0, 40, 100, 100], [-15, 40, 180, 100], [100, 30, 230, 170]])
    corner_and_size = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    processor = VitPoseImageProcessor()
    inputs = processor(images=image, boxes=[corner_and_size], return_tensors="pt")
    experts = torch.zeros(3, dtype=torch.long) if num_experts > 1 else None
    output = network(**inputs, dataset_index=experts)
    output.heatmaps = with_bumps(output.heatmaps.shape)
    expected = processor.post_process_pose_estimation(output, boxes=[corner_and_size])[0]
    seen: list[Tensor] = []

    def heat(pixels: Tensor, dataset_index: Tensor | None) -> VitPoseEstimatorOutput:
        seen.append(pixels)
        assert (dataset_index is None) == (num_experts == 1)
        return output

    detector = KeypointDetector(network)
    network.forward = heat
    found = detector(image, boxes)
    # The library rounds pixels to whole numbers; the other views reach over the border, where it
    # does not blend with black as ViTPose's training did.
    pixels = inputs["pixel_values"]
    torch.testing.assert_close(seen[0][0], pixels[0], atol=0.02, rtol=0)
    assert float(((seen[0] - pixels).abs() < 0.02).float().mean()) > 0.98
    for row, person in zip(found, expected, strict=True):
        torch.testing.assert_close(row[:, :2], person["keypoints"].float(), atol=0.02, rtol=0)
        torch.testing.assert_close(row[:, 2], person["scores"].float())


def with_bumps(shape: torch.Size) -> Tensor:
    """Heat maps as a trained network gives them: one round hill each, anywhere, some at borders."""
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(*shape[:2], 2, generator=generator) * torch.tensor([shape[3], shape[2]])
    y, x = torch.meshgrid(torch.arange(shape[2]), torch.arange(shape[3]), indexing="ij")
    x, y = x - places[..., 0, None, None], y - places[..., 1, None, None]
    return 0.9 * torch.exp(-(x**2 + y**2) / 8)


def test_peaks_lie_between_the_pixels() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    heat = 0.8 * torch.exp(-((x - 20.3) ** 2 + (y - 31.6) ** 2) / 8)
    places, confidence = peaks(heat[None, None])
    torch.testing.assert_close(places[0, 0], torch.tensor([20.3, 31.6]), atol=0.01, rtol=0)
    assert 0.75 < float(confidence) <= 0.8
    flat, nothing = peaks(torch.zeros(1, 1, 64, 48))
    assert bool(flat.isfinite().all()) and float(nothing) == 0


@torch.no_grad()
def test_clothes_are_those_of_the_librarys_processor(image: Tensor) -> None:
    network = tiny_segformer().eval()
    processor = SegformerImageProcessor()
    output = network(**processor(images=image, return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(output, target_sizes=[(150, 210)])[0]
    labels = ClothingParser(network)(image)
    assert labels.shape == (150, 210) and labels.dtype == torch.uint8
    agree = labels == to_cihp(expected, "atr")
    assert float(agree.float().mean()) > 0.995
    assert len(expected.unique()) > 1, "the random network tells places apart"


# --- weights --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_from_a_folder(kind: type[Detector], tmp_path: Path, image: Tensor) -> None:
    network = tiny(kind)
    network.save_pretrained(tmp_path)
    loaded = kind.load(tmp_path)
    state = network.state_dict()
    assert all(torch.equal(state[k], v) for k, v in loaded.network.state_dict().items())
    assert not loaded.network.training


@pytest.mark.parametrize("kind", KINDS)
def test_published_weights_in_the_cache_are_used(
    kind: type[Detector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(kind).save_pretrained(tmp_path)
    asked: list[str] = []

    def fetch(repository: str, file: str) -> Path:
        asked.append(repository)
        return tmp_path / file

    monkeypatch.setattr(pretrained, "fetch", fetch)
    kind.load()
    assert set(asked) == {kind.repository}


@pytest.mark.parametrize("kind", KINDS)
def test_offline_one_sentence_says_what_to_get(
    kind: type[Detector], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def nobody() -> bool:
        asked.append(1)
        return False

    monkeypatch.setattr(pretrained, "hub_answers", nobody)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingFileError, match=f"{kind.repository}.*{kind.option}"):
        kind.load()
    assert len(asked) == 1, "the hub is tried once"
    assert not kind.cached()


@pytest.mark.parametrize("kind", KINDS)
def test_folders_of_something_else(
    kind: type[Detector], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(MissingFileError, match="no folder of weights"):
        kind.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="does not hold weights"):
        kind.load(tmp_path)
    others = {
        PersonDetector: lambda: tiny_detr(("cat", "dog")),
        KeypointDetector: lambda: tiny_vitpose(16),
        ClothingParser: lambda: tiny_segformer(150),
    }
    others[kind]().save_pretrained(tmp_path)
    with caplog.at_level(logging.ERROR), pytest.raises(InputError, match="does not hold weights"):
        kind.load(tmp_path)
    path = tmp_path / "model.safetensors"
    tiny(kind).save_pretrained(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="does not hold weights"):
        kind.load(tmp_path)


def test_nobody_has_no_joints(image: Tensor) -> None:
    assert KeypointDetector(tiny_vitpose())(image, torch.zeros(0, 4)).shape == (0, 17, 3)


# --- what is made of their answers ----------------------------------------------------------------
def test_where_boxes_overlap_nobody_knows_whose_clothes_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)
    image = np.zeros((100, 200, 3), np.uint8)
    boxes = [np.array([20.0, 10, 90, 90]), np.array([80.0, 10, 180, 90])]
    first, second = parse_clothes(image, boxes, ClothingParser.load(device="cpu"))
    assert first.shape == second.shape == (100, 200)
    # With their margins the boxes reach from 13 to 97 and from 70 to 190.
    assert set(np.unique(first[:, 75:95])) <= {0, 255} and (first[30:60, 80] == 255).all()
    assert (second[30:60, 80] == 255).all() and (second[30:60, 110] == 5).all()
    assert (first[30:60, 40] == 5).all() and not first[:, 110:].any() and not second[:, :65].any()


def test_joints_that_the_detector_doubts_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.rand(1, 17, 3)
    table[0, :, 2] = torch.tensor([0.1] * 4 + [0.6] * 13)
    monkeypatch.setattr(KeypointDetector, "__call__", lambda self, image, boxes: table)
    detector = KeypointDetector(tiny_vitpose())
    (found,) = find_keypoints(np.zeros((9, 9, 3), np.uint8), [np.zeros(4)], detector)
    assert found.skeleton == "coco17" and (found.confidence > 0).sum() == 13
    assert not found.points_px[:4].any()
