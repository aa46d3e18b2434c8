"""Backbones: shapes, normalisation, nothing untrained inside, weights from files, offline."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from meshreg.errors import InputError, MissingFileError
from meshreg.models import pretrained
from meshreg.models.backbones import TESTED, backbone

SMALL = ("resnet18", "mobilenetv4_conv_small", "efficientnet_b0")
LARGE = tuple(
    name for name in (*TESTED, "vitpose_base", "dinov2_small", "dinov3_small") if name not in SMALL
)


def check(name: str) -> None:
    """The promised shape, and a gradient for every parameter that wants one."""
    network = backbone(name).train()
    height, width = 4 * network.stride, 3 * network.stride
    features = network(torch.rand(2, 3, height, width))
    assert features.shape == (2, network.channels, 4, 3)
    features.square().sum().backward()
    idle = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, idle
    assert not any(name.startswith(("mean", "std")) for name in network.state_dict())


@pytest.mark.parametrize("name", SMALL)
def test_features_of_small_backbones(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LARGE, "vitpose_plus_small"])
def test_features_of_large_backbones(name: str) -> None:
    check(name)


def test_vitpose_reads_pictures_of_its_own_size_as_transformers_does() -> None:
    vitpose = backbone("vitpose_plus_small").eval()
    x = torch.randn(1, 3, 256, 192)
    expected = vitpose.network(x, torch.tensor([0])).feature_maps[-1]
    ours = vitpose.extract(vitpose.network, x)
    assert torch.allclose(ours.flatten(2).mT, expected, atol=1e-5)


def test_bytes_and_fractions_are_the_same_picture() -> None:
    network = backbone("resnet18").eval()
    picture = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(network(picture), network(picture / 255))
    grey = network.mean[None].expand(1, 3, 64, 64)  # becomes zero, so only biases are left
    assert torch.allclose(
        network(grey), network.network.forward_features(torch.zeros(1, 3, 64, 64))
    )


def test_double_precision() -> None:
    network = backbone("mobilenetv4_conv_small").eval()
    picture = torch.rand(1, 3, 64, 64)
    single = network(picture)
    assert torch.allclose(network.double()(picture).float(), single, atol=1e-3)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 32"):
        backbone("resnet18")(torch.rand(1, 3, 70, 64))


def test_unknown_names_are_answered_with_close_ones() -> None:
    with pytest.raises(InputError, match="did you mean resnet50"):
        backbone("resnet5O")


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    source = backbone("resnet18").network.state_dict()
    source |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}  # as published
    save_file(source, path)
    loaded = backbone("resnet18", weights=path).network.state_dict()
    assert all(torch.equal(source[key], value) for key, value in loaded.items())
    with pytest.raises(InputError, match="does not hold weights of resnet34"):
        backbone("resnet34", weights=path)
    torch.save(source, tmp_path / "resnet18.pth")  # as torchvision does
    loaded = backbone("resnet18", weights=tmp_path / "resnet18.pth").network.state_dict()
    assert all(torch.equal(source[key], value) for key, value in loaded.items())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut off"):
        backbone("resnet18", weights=path)
    with pytest.raises(MissingFileError, match="check the path"):
        backbone("resnet18", weights=str(tmp_path / "none.safetensors"))


def test_transformers_weights_come_from_a_folder(tmp_path: Path) -> None:
    source = backbone("dinov2_small")
    source.network.save_pretrained(tmp_path)
    loaded = backbone("dinov2_small", weights=tmp_path)
    x = torch.rand(1, 3, 28, 28)
    assert torch.allclose(loaded.eval()(x), source.eval()(x), atol=1e-6)
    with pytest.raises(InputError, match="does not hold weights of dinov2_base"):
        backbone("dinov2_base", weights=tmp_path)


def test_gaps_in_transformers_weights_are_refused(tmp_path: Path) -> None:
    backbone("dinov2_small").network.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.layer.3.norm1.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="does not hold weights of dinov2_small"):
        backbone("dinov2_small", weights=tmp_path)


@pytest.mark.parametrize("name", ["resnet18", "dinov3_small"])
def test_offline_the_weights_stay_random_with_one_sentence(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(pretrained, "hub_answers", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with caplog.at_level(logging.WARNING, logger="meshreg"):
        backbone(name, weights="pretrained")
    ours = [record for record in caplog.records if record.name.startswith("meshreg")]
    assert len(ours) == 1
    sentence = ours[0].getMessage()
    assert "random" in sentence and "pass its path as weights" in sentence


def test_a_published_file_in_the_cache_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.safetensors"
    source = backbone("mobilenetv4_conv_small").network.state_dict()
    save_file(source | {"conv_head.weight": torch.zeros(2)}, path)
    monkeypatch.setattr(pretrained, "fetch", lambda repository, file: path)
    loaded = backbone("mobilenetv4_conv_small", weights="pretrained").network.state_dict()
    assert all(torch.equal(source[key], value) for key, value in loaded.items())
    assert not caplog.records


def test_an_unreachable_hub_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    class Session:
        head = fail

    monkeypatch.setattr("huggingface_hub.get_session", Session)
    assert not pretrained.hub_answers()
