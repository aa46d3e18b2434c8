"""The field-of-view network that comes with meshreg: small, and it looks at pictures."""

from pathlib import Path

import pytest
import torch

from meshreg.cli import main
from meshreg.data.images import read_image
from meshreg.data.synthetic.rendered import PeopleRecipe, RenderedPeople
from meshreg.data.whole_pictures import as_seen
from meshreg.geometry.cameras import longer_side_fov
from meshreg.models.fov_files import SHIPPED, load_fov, read_fov
from meshreg.predictor.field_of_view import predicted_camera

ASTRONAUT = Path(__file__).parents[1] / "demo" / "samples" / "astronaut.jpg"
WIDE = (
    ("fov_deg", (30.0, 100.0)),
    ("usual_fov_share", 0.0),
    ("apparent_height", (0.25, 0.8)),
    ("central_share", 0.0),
)


def test_the_file_is_small_and_says_what_it_is() -> None:
    assert SHIPPED.stat().st_size < 4e6
    header, network = read_fov(SHIPPED)
    assert "synthetic" in header.recipe and "CC0" in header.licence and "CMU" in header.licence
    assert not network.training and float(network.temperature) > 0


def test_it_tells_narrow_views_from_wide_ones() -> None:
    """Of pictures that nobody trained on; a network that does not look says the same of all."""
    recipe = PeopleRecipe(seed=987_654, size=160, supersampling=1, scene=WIDE, whole=True)
    network = load_fov()
    seen = as_seen(RenderedPeople(recipe, count=80), range(80), network.image_size)
    with torch.inference_mode():
        found = network(seen.image)
    wide = seen.fov_deg > seen.fov_deg.median()
    said = found.median_deg
    assert said[wide].mean() > said[~wide].mean() + 4
    inside = (seen.fov_deg > found.quantile(0.1)) & (seen.fov_deg < found.quantile(0.9))
    assert 0.6 < inside.float().mean() < 0.97


def test_it_has_an_opinion_on_photographs_but_is_not_asked_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = predicted_camera(read_image(ASTRONAUT))
    assert 20 < longer_side_fov(camera) < 110 and not camera.known
    words = ["predict", str(ASTRONAUT), f"--out={tmp_path}"]
    assert main([*words, "--camera=predict"]) == 0
    assert "predicted from the picture" in capsys.readouterr().out
    assert main(words) == 0
    assert "guessed: focal length = image diagonal" in capsys.readouterr().out
