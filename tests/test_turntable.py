"""A walk around coloured balls: which one is left, right, above and in front in every picture."""

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.annotate import PAPER
from meshreg.render.views import draw_view, turntable

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SIZE = (96, 80)
AXIS = torch.tensor([0.3, -0.2, 4.0])


def balls(*places: tuple[float, float, float], radius: float = 0.3) -> tuple[list[Tensor], Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    verts = torch.from_numpy(mesh.vertices.copy()).float() + AXIS
    return [verts + torch.tensor(place) for place in places], torch.from_numpy(mesh.faces.copy())


def where(picture: np.ndarray, channel: int) -> np.ndarray:
    """Mask of the ball of one colour."""
    others = [c for c in range(3) if c != channel]
    return picture[..., channel] > picture[..., others].max(axis=2).astype(int) + 40


def column(mask: np.ndarray) -> float:
    return float(np.nonzero(mask)[1].mean())


def test_a_quarter_shows_the_photo_s_right_side() -> None:
    """Red stands nearer to the camera, green hovers above, blue marks the other end."""
    people, faces = balls((0, 0, -1), (0, -1.5, 0), (0, 0, 1))
    front, right, back, left = turntable(
        people, faces, SIZE, frames=4, elevation_deg=0.0, color=[RED, GREEN, BLUE]
    )
    assert where(front, 0).sum() > 4 * where(front, 2).sum(), "red hides blue"
    assert where(back, 2).sum() > 4 * where(back, 0).sum(), "blue hides red"
    assert column(where(right, 0)) < column(where(right, 2)) - 20, "from the right: front is left"
    assert column(where(left, 0)) > column(where(left, 2)) + 20
    for picture in (front, right, back, left):
        green, rest = np.nonzero(where(picture, 1))[0], np.nonzero(where(picture, 0))[0]
        assert green.max() < rest.min(), "upright"
        assert column(where(picture, 1)) == pytest.approx((SIZE[1] - 1) / 2, abs=1.5)


def test_it_turns_as_draw_view_does() -> None:
    people, faces = balls((0.7, 0, -0.6), (-0.5, 0.4, 0.2))
    frames = turntable(people, faces, SIZE, frames=8, elevation_deg=20.0, color=[RED, BLUE])
    for i in (1, 3, 6):
        view = draw_view(
            people, faces, SIZE, azimuth_deg=45.0 * i, elevation_deg=20.0, color=[RED, BLUE]
        )
        gaps = [
            column(where(picture, 0)) - column(where(picture, 2)) for picture in (frames[i], view)
        ]
        assert 0.4 < gaps[0] / gaps[1] < 1.1, "one distance for all is never nearer"


@pytest.mark.parametrize("elevation", [-30.0, 0.0, 10.0, 60.0])
def test_nothing_is_clipped(elevation: float) -> None:
    people, faces = balls((2.0, 0, 0), (-0.5, -1, 1.0))
    frames = turntable(people, faces, (60, 90), frames=7, elevation_deg=elevation, supersample=1)
    rows = columns = 0
    for picture in frames:
        border = np.ones((60, 90), bool)
        border[2:-2, 2:-2] = False
        assert np.ptp(picture[border].astype(int), axis=1).max() == 0
        ink = np.ptp(picture.astype(int), axis=2) > 15
        rows, columns = (
            max(rows, np.ptp(np.nonzero(ink)[0])),
            max(columns, np.ptp(np.nonzero(ink)[1])),
        )
    assert rows > 0.5 * 60 or columns > 0.5 * 90, "but it fills the picture once"


def test_the_distance_stays_the_same() -> None:
    people, faces = balls((0, 0, 0), radius=0.5)
    frames = turntable(people, faces, SIZE, frames=5, color=RED)
    areas = [where(picture, 0).sum() for picture in frames]
    assert max(areas) < 1.02 * min(areas) and min(areas) > 800


def test_frames_are_counted() -> None:
    people, faces = balls((0, 0, 0))
    frames = turntable(people, faces, SIZE, frames=1)
    assert len(frames) == 1 and frames[0].shape == (*SIZE, 3) and frames[0].dtype == np.uint8
    empty = turntable([], faces, (5, 6), frames=3)
    assert len(empty) == 3 and (np.stack(empty) == PAPER).all()
    with pytest.raises(InputError, match="frame"):
        turntable(people, faces, SIZE, frames=0)
