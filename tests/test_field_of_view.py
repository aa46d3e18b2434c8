"""Fields of view as distributions: their arithmetic, their losses, files, and whole pictures."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_people import BareBodies, plain_body, plain_planner
from torch import Tensor

from meshreg.body.assets import load_body_data
from meshreg.cli import main
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.mixture import Mixture
from meshreg.data.sample import Batch
from meshreg.data.synthetic.whole import WholePlanner, whole
from meshreg.data.whole_pictures import WidthBatches, as_seen, true_fov_deg
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import (
    camera_from_focal,
    camera_from_fov,
    guess_camera,
    longer_side_fov,
)
from meshreg.losses.field_of_view import distance_from_truth, unlikeliness
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.builders import build_hmr
from meshreg.models.camera import crop_K
from meshreg.models.checkpoint import save_model
from meshreg.models.field_of_view import (
    FieldOfView,
    FovArchitecture,
    FovNetwork,
    build_fov,
    made_honest,
)
from meshreg.models.fov_files import load_fov, save_fov, start_from_regressor
from meshreg.predictor.field_of_view import predicted_camera, read_field_of_view

TINY = FovArchitecture(backbone="mobilenetv4_conv_small_050", image_size=64, num_bins=12)


@pytest.fixture(scope="module")
def network() -> FovNetwork:
    torch.manual_seed(0)
    return build_fov(TINY).eval()


def some_views(count: int = 5, bins: int = 24, seed: int = 0) -> FieldOfView:
    torch.manual_seed(seed)
    logits = 2 * torch.randn(count, bins, dtype=torch.float64)
    return FieldOfView(torch.log_softmax(logits, 1), torch.linspace(10, 130, bins + 1).double())


# --- arithmetic -----------------------------------------------------------------------------------
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.77, 0.999])
def test_quantiles_undo_the_cumulated_shares(share: float) -> None:
    views = some_views()
    edges, below = views.edges_deg.numpy(), views.below.numpy()
    expected = [np.interp(share, row, edges) for row in below]
    np.testing.assert_allclose(views.quantile(share).numpy(), expected, atol=1e-9)


def test_a_sure_view_has_its_median_in_its_bin() -> None:
    logits = torch.full((1, 12), -50.0)
    logits[0, 4] = 0
    view = FieldOfView(torch.log_softmax(logits, 1), torch.linspace(10, 130, 13))
    assert float(view.median_deg) == pytest.approx(55.0, abs=1e-3)
    assert float(view.quantile(0.9) - view.quantile(0.1)) == pytest.approx(8.0, abs=1e-2)


def test_the_distance_is_that_of_random_draws() -> None:
    """E|X - y| - E|X - X'| / 2, by drawing from the distribution."""
    views = some_views(3)
    truth = torch.tensor([40.0, 75.0, 128.0]).double()
    rng = np.random.default_rng(0)
    low = views.edges_deg[:-1].numpy()
    expected = []
    for shares, y in zip(views.log_shares.exp().numpy(), truth.numpy(), strict=True):
        one, other = (
            rng.choice(low, 200_000, p=shares / shares.sum()) + rng.uniform(0, 5, 200_000)
            for _ in range(2)
        )
        expected.append(np.abs(one - y).mean() - np.abs(one - other).mean() / 2)
    found = distance_from_truth(views.below, views.edges_deg, truth)
    assert float(found) == pytest.approx(np.mean(expected), abs=0.1)


@pytest.mark.parametrize("term", ["unlikely", "distance"])
def test_both_losses_are_least_at_the_truth(term: str) -> None:
    edges = torch.linspace(10, 130, 49).double()
    truth = torch.full((49,), 63.0).double()
    middles = torch.linspace(10, 130, 49).double()
    logits = -((edges[1:] + edges[:-1])[None] / 2 - middles[:, None]).square() / 40
    views = FieldOfView(torch.log_softmax(logits, 1), edges)
    each = []
    for row in range(49):
        log_shares, below = views.log_shares[row : row + 1], views.below[row : row + 1]
        each.append(
            unlikeliness(log_shares, edges, truth[:1])
            if term == "unlikely"
            else distance_from_truth(below, edges, truth[:1])
        )
    assert abs(float(middles[torch.stack(each).argmin()]) - 63.0) < 2.0
    logits = torch.zeros(1, 48, dtype=torch.float64, requires_grad=True)

    def loss(values: Tensor) -> Tensor:
        view = FieldOfView(torch.log_softmax(values, 1), edges)
        if term == "unlikely":
            return unlikeliness(view.log_shares, edges, truth[:1])
        return distance_from_truth(view.below, edges, truth[:1])

    assert torch.autograd.gradcheck(loss, logits)


@pytest.mark.parametrize("warmth", [1.0, 2.5])
def test_temperature_makes_too_sure_networks_honest(network: FovNetwork, warmth: float) -> None:
    """Truth is drawn from flatter distributions than the network's own."""
    torch.manual_seed(1)
    logits = 4 * torch.randn(4000, 12)
    drawn = torch.multinomial(torch.softmax(logits / warmth, 1), 1)[:, 0]
    truth = network.edges_deg[drawn] + 5
    network.temperature.fill_(1.0)
    made_honest(network, torch.log_softmax(logits, 1), truth)
    assert float(network.temperature) == pytest.approx(warmth, rel=0.1)
    network.temperature.fill_(1.0)


# --- whole pictures -------------------------------------------------------------------------------
def test_whole_pictures_show_the_same_people_with_all_around_them() -> None:
    """The square is around the picture, nothing is beyond its border, and K puts people in it."""
    planner = plain_planner(3, size=64)
    plans = [whole(planner.plan(index)) for index in range(6)]
    twin = WholePlanner(3, poses=planner.poses, body=load_body_data(), settings=planner.settings)
    batch = BareBodies(plain_body()).render(plans)
    for index, plan in enumerate(plans):
        cut = planner.plan(index)
        assert plan.full_size == cut.full_size and len(plan.people) == len(cut.people)
        np.testing.assert_array_equal(plan.people[0].transl, cut.people[0].transl)
        np.testing.assert_array_equal(plan.K, twin.plan(index).K)
        assert plan.box[2] == max(plan.full_size)
        full = torch.from_numpy(plan.K_full)[None]
        expected = crop_K(full, torch.from_numpy(plan.box)[None], 64)[0]
        np.testing.assert_allclose(plan.K, expected.numpy(), atol=1e-5)
        camera = camera_from_focal(float(plan.K_full[0, 0]), plan.full_size)
        assert float(true_fov_deg(batch)[index]) == pytest.approx(longer_side_fov(camera), abs=1e-3)


class Rings:
    """Pictures with a ring where rays are 20 degrees off the axis, by cameras of any width."""

    count = 24
    angle = math.radians(20)

    def take(self, indices: range | list[int]) -> Batch:
        people = BareBodies(plain_body()).render([plain_planner(0, size=160).plan(0)])
        samples = [people[0] for _ in indices]
        batch = Batch(
            **{
                name: torch.stack([getattr(sample, name) for sample in samples])
                for name in vars(samples[0])
            }
        )
        fov = 45 + 3 * torch.tensor(list(indices)).float()
        focal = 80 / torch.tan(torch.deg2rad(fov) / 2)
        K = torch.eye(3).repeat(len(samples), 1, 1)
        K[:, 0, 0] = K[:, 1, 1] = focal
        K[:, :2, 2] = 79.5
        steps = torch.arange(160) - 79.5
        radius = torch.hypot(steps[:, None], steps[None])
        ring = (radius - (focal * math.tan(self.angle))[:, None, None]).abs() < 2
        image = (255 * ring).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()
        return replace(batch, image=image, K=K, index=torch.tensor(list(indices)))


@pytest.mark.parametrize("zoom", [0.0, 0.4])
def test_pictures_and_angles_are_cut_down_together(zoom: float) -> None:
    """The ring stays at 20 degrees, by the camera that the batch says took the picture."""
    same = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "tint": 0.0, "noise": 0.0}
    settings = AugmentSettings(zoom=zoom, shift=0.0, erase=0.0, **same)
    mixture = Mixture({"rings": Rings()}, {"rings": 1.0}, batch_size=16)
    batches = WidthBatches(mixture, settings, 96)
    seen, again = batches.at(2), batches.at(2)
    torch.testing.assert_close(seen.image, again.image)
    untouched = 45 + 3 * seen.index.float()
    assert ((seen.fov_deg - untouched).abs().max() > 5) == (zoom > 0)
    focal = 48 / torch.tan(torch.deg2rad(seen.fov_deg) / 2)
    steps = torch.arange(96) - 47.5
    radius = torch.hypot(steps[:, None], steps[None])
    light = seen.image.float().mean(1)
    measured = (light * radius).sum((1, 2)) / light.sum((1, 2))
    torch.testing.assert_close(measured, focal * math.tan(Rings.angle), atol=0.5, rtol=0)


def test_pictures_of_evaluations_are_shown_as_they_are() -> None:
    seen = as_seen(Rings(), range(4), 96)
    torch.testing.assert_close(seen.fov_deg, torch.tensor([45.0, 48, 51, 54]))
    assert seen.image.shape == (4, 3, 96, 96)


# --- predictions ----------------------------------------------------------------------------------
def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(240, 320), (320, 240), (50, 400)])
def test_a_predicted_camera_is_the_median_and_says_how_sure_it_is(
    network: FovNetwork, size: tuple[int, int]
) -> None:
    image = photo(*size)
    found = read_field_of_view(image, network)
    camera = predicted_camera(image, network)
    assert camera.size == size and not camera.known
    assert longer_side_fov(camera) == pytest.approx(float(found.median_deg), abs=1e-3)
    torch.testing.assert_close(camera.K[:2, 2], guess_camera(size).K[:2, 2])
    numbers = [round(float(found.quantile(share))) for share in (0.5, 0.1, 0.9)]
    assert all(str(number) in camera.source for number in numbers)
    assert camera.source.startswith("predicted") and "synthetic" in camera.source


def test_a_picture_is_read_at_any_size_alike(network: FovNetwork) -> None:
    """Twice as many pixels of the same picture, and black bars around it, change nothing."""
    import cv2

    image = cv2.resize(photo(12, 16), (320, 240), interpolation=cv2.INTER_CUBIC)
    large = cv2.resize(image, (640, 480), interpolation=cv2.INTER_LINEAR)
    bars = np.zeros((320, 320, 3), np.uint8)
    bars[40:280] = image
    one, two, three = (
        float(read_field_of_view(x, network).median_deg) for x in (image, large, bars)
    )
    assert two == pytest.approx(one, abs=0.3) and three == pytest.approx(one, abs=0.3)


@pytest.mark.parametrize("size", [(20, 30), (47, 300), (1, 1)])
def test_too_small_pictures_are_refused(network: FovNetwork, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{size[1]}x{size[0]} is too small"):
        predicted_camera(photo(*size), network)


def test_longer_sides() -> None:
    for size in ((300, 400), (400, 300)):
        axis = "x" if size[1] > size[0] else "y"
        camera = camera_from_fov(63.0, size, axis=axis)  # type: ignore[arg-type]
        assert longer_side_fov(camera) == pytest.approx(63.0, abs=1e-4)


# --- files and the command ------------------------------------------------------------------------
def test_a_file_brings_the_network_back(network: FovNetwork, tmp_path: Path) -> None:
    network.temperature.fill_(1.5)
    save_fov(tmp_path / "fov.safetensors", network, dtype="float16", licence="CC0", recipe="none")
    network.temperature.fill_(1.0)
    again = load_fov(tmp_path / "fov.safetensors")
    assert again.architecture == TINY and float(again.temperature) == 1.5
    assert not again.training
    image = torch.from_numpy(photo(64, 64)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = torch.log_softmax(network(image).log_shares / 1.5, 1)
        torch.testing.assert_close(again(image).log_shares, expected, atol=0.02, rtol=0)


def test_files_of_other_kinds_are_refused(network: FovNetwork, tmp_path: Path) -> None:
    small = replace(ARCHITECTURES["hmr_small"], width=32, image_size=64)
    model = build_hmr(small, body=plain_body())
    save_model(tmp_path / "body.safetensors", model)
    with pytest.raises(InputError, match="a regressor of bodies, not a network of the field"):
        load_fov(tmp_path / "body.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="damaged or not a model"):
        load_fov(tmp_path / "junk.safetensors")
    torch.save({}, tmp_path / "torch.safetensors")
    with pytest.raises(InputError, match="torch.save"):
        load_fov(tmp_path / "torch.safetensors")
    with pytest.raises(MissingFileError, match="no model at"):
        load_fov(tmp_path / "nowhere.safetensors")
    with pytest.raises(InputError, match="backbone mobilenetv4_conv_small, but"):
        start_from_regressor(network, tmp_path / "body.safetensors")
    with pytest.raises(InputError, match="bins of angles"):
        build_fov(replace(TINY, widest_deg=190.0))


def test_a_network_begins_with_what_a_regressor_learned(tmp_path: Path) -> None:
    small = replace(ARCHITECTURES["hmr_small"], width=32, image_size=64)
    model = build_hmr(small, body=plain_body())
    save_model(tmp_path / "body.safetensors", model)
    fov = build_fov(replace(TINY, backbone="mobilenetv4_conv_small"))
    start_from_regressor(fov, tmp_path / "body.safetensors")
    for name, value in model.backbone.state_dict().items():
        torch.testing.assert_close(fov.backbone.state_dict()[name], value)


def test_the_command_takes_a_network_as_the_camera(
    network: FovNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from meshreg.export import load_npz

    picture, file = tmp_path / "photo.png", tmp_path / "fov.safetensors"
    Image.fromarray(photo(90, 120)).save(picture)
    save_fov(file, network)
    words = ["predict", str(picture), f"--out={tmp_path / 'out'}"]
    assert main([*words, f"--camera={file}"]) == 0
    said = capsys.readouterr().out
    assert "camera: focal length" in said and "predicted from the picture" in said
    record = load_npz(tmp_path / "out" / "photo_0.npz")
    assert record.K_source.startswith("predicted")
    expected = predicted_camera(photo(90, 120), network).K
    np.testing.assert_allclose(record.K, expected.numpy(), rtol=1e-3)
    assert main([*words, f"--camera={file}", "--fov=60"]) == 2
    assert "contradict each other" in capsys.readouterr().err
    small = tmp_path / "small.png"
    Image.fromarray(photo(20, 30)).save(small)
    assert main(["predict", str(small), f"--camera={file}", f"--out={tmp_path / 'out'}"]) == 2
    assert "too small to tell its field of view" in capsys.readouterr().err
