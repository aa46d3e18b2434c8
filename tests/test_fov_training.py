"""The recipe of field-of-view networks: its config, its pictures, a run, and that it learns."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plain_people import BareBodies, plain_body, plain_planner
from test_field_of_view import Rings

from meshreg.cli import _parse, main
from meshreg.data import whole_pictures
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.cached import CachedPeople
from meshreg.data.mixture import Mixture
from meshreg.data.sample import Batch
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.data.synthetic.whole import whole
from meshreg.data.whole_pictures import WidthBatches, true_fov_deg
from meshreg.errors import InputError
from meshreg.evaluate.field_of_view import judge_fov
from meshreg.geometry.cameras import guess_camera, longer_side_fov
from meshreg.losses.terms import total
from meshreg.models.fov_files import load_fov, read_fov
from meshreg.train.fov import FovTerms, build_network, pictures_of
from meshreg.train.fov_config import (
    FovConfig,
    FovDataConfig,
    FovLossConfig,
    FovModelConfig,
    PicturesConfig,
)

CONFIG = Path(__file__).parents[1] / "configs" / "fov" / "default.yaml"
SMALL = FovModelConfig(
    backbone="mobilenetv4_conv_small_050", image_size=64, num_bins=24, dropout=0.0
)


class Bare:
    """Stands for people who are drawn with all that they wear."""

    def __init__(self, recipe: PeopleRecipe, *, count: int) -> None:
        assert recipe.whole
        self.recipe, self.count = recipe, count
        settings = dict(recipe.scene)
        self.planner = plain_planner(recipe.seed, size=recipe.size, **settings)

    def take(self, indices: Sequence[int]) -> Batch:
        plans = [whole(self.planner.plan(index)) for index in indices]
        batch = BareBodies(plain_body()).render(plans)
        return replace(batch, vertices_cam=batch.vertices_cam[:, :0])


def test_the_config_begins_with_its_command_and_judges_others_than_it_trains_on() -> None:
    text = CONFIG.read_text("utf-8")
    assert text.splitlines()[0] == f"# meshreg train --config configs/fov/{CONFIG.name}"
    config = _parse(["train", "--config", str(CONFIG)])[1]
    assert isinstance(config, FovConfig) and config.out == Path("runs/fov")
    seeds = [source.seed for source in config.data.sources.values()]
    assert config.data.judge is not None and config.data.calibrate is not None
    seeds += [config.data.judge.seed, config.data.calibrate.seed]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("data.augment.shift=0.1", "data.augment.shift"),
        ("data.drawn=8", "data.drawn"),
        ("losses.distance=-1", "losses.distance"),
        ("model.num_binz=3", "num_binz"),
        ("data.judge.count=0", "'judge' must have a count"),
    ],
)
def test_settings_that_cannot_be_are_named(
    word: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", str(CONFIG), word]) == 2
    err = capsys.readouterr().err
    assert named in err and err.count("\n") == 1


def test_a_run_goes_from_pictures_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_pictures, "RenderedPeople", Bare)
    words = [f"data.folder={tmp_path / 'drawn'}", "data.drawn=64", "data.batch_size=4"]
    words += ['data.sources={"few": {"seed": 5, "count": 6}}']
    words += ["data.judge.count=3", "data.calibrate.count=3"]
    words += ["model.backbone=mobilenetv4_conv_small_050", "model.image_size=64"]
    words += ["model.start_from=null", "run.steps=3", "run.device=cpu", "optimiser.warmup=1"]
    command = ["train", "--config", str(CONFIG), *words, f"--out={tmp_path / 'run'}"]
    assert main(command) == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"few", "judge", "calibrate"}
    header, network = read_fov(tmp_path / "run" / "model.safetensors")
    assert network.architecture.image_size == 64 and "CMU" in header.licence
    assert "6 synthetic pictures" in header.recipe
    with torch.no_grad():
        found = network(CachedPeople(tmp_path / "drawn" / "judge").take(range(3)).image)
    assert torch.isfinite(found.median_deg).all()
    # The drawn pictures are kept, and other ones are not taken for them.
    data = FovDataConfig(folder=tmp_path / "drawn", drawn=64)
    with pytest.raises(InputError, match="holds other pictures"):
        pictures_of(data, "few", PicturesConfig(seed=5, count=5))
    kept = pictures_of(data, "few", PicturesConfig(seed=5, count=6, fov=(30.0, 100.0)))
    assert kept.count == 6
    assert load_fov(tmp_path / "run" / "model.safetensors").image_size == 64


def test_a_judgement_compares_with_guesses_that_look_at_nothing() -> None:
    torch.manual_seed(0)
    network = build_network(SMALL).eval()
    rings = Rings()
    judged = judge_fov(network, rings)
    truth = true_fov_deg(rings.take(range(rings.count)))
    torch.testing.assert_close(judged.true_deg, truth)
    errors = judged.errors
    best = min(float((truth - guess).abs().mean()) for guess in torch.arange(10.0, 130.0, 0.1))
    assert float(errors["best constant"].mean()) == pytest.approx(best, abs=0.1)
    size = tuple(int(n) for n in rings.take([0]).full_size[0])
    usual = longer_side_fov(guess_camera(size))  # type: ignore[arg-type]
    torch.testing.assert_close(errors["image diagonal"], (truth - usual).abs())
    low, high = judged.found.quantile(0.1), judged.found.quantile(0.9)
    inside = sum(float(a <= t <= b) for a, t, b in zip(low, truth, high, strict=True)) / len(truth)
    assert judged.coverage(0.8) == pytest.approx(inside)
    assert not judged.gain.low > 0, "a network that learned nothing gains nothing"


def test_it_learns_what_rings_tell() -> None:
    torch.manual_seed(0)
    network = build_network(SMALL)
    terms = FovTerms(FovLossConfig(), network.edges_deg)
    same = {name: 0.0 for name in ("brightness", "contrast", "saturation", "tint", "noise")}
    settings = AugmentSettings(zoom=0.0, shift=0.0, erase=0.0, **same)
    batches = WidthBatches(Mixture({"r": Rings()}, {"r": 1.0}, batch_size=12), settings, 64)
    kept = [batches.at(number) for number in range(2)]  # all of them
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(60):
        loss, values = total(terms(network, kept[step % 2], step))
        assert set(values) == {"unlikely", "distance"}
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():  # of the networks' batches, whose statistics are those of training
        error = torch.cat([(network(b.image).median_deg - b.fov_deg).abs() for b in kept])
    assert float(error.mean()) < 4.0, "guessing the median misses by 18 degrees"
