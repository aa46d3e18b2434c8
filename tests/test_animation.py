"""Animations come back from their files as they went in, or are not written at all."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from meshreg import export
from meshreg.errors import InputError
from meshreg.export import save_animation


def moving_square(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """A red square that walks right on white."""
    frames = np.full((count, *size, 3), 250, np.uint8)
    for i, frame in enumerate(frames):
        frame[16:32, 4 + 4 * i : 20 + 4 * i] = (200, 30, 40)
    return list(frames)


@pytest.mark.parametrize(("count", "fps"), [(10, 12.0), (7, 30.0), (1, 5.0)])
def test_gif_round_trip(tmp_path: Path, count: int, fps: float) -> None:
    frames = moving_square(count)
    path = tmp_path / "new" / "turn.gif"
    save_animation(path, frames, fps)
    with Image.open(path) as picture:
        found, seconds = [], 0.0
        for page in ImageSequence.Iterator(picture):  # one object, which moves on
            seconds += page.info.get("duration", 1000 / fps) / 1000
            found.append(np.asarray(page.convert("RGB")).astype(int))
        assert len(found) == count
        if count > 1:
            assert picture.info["loop"] == 0, "for ever"
    assert np.abs(np.stack(found) - np.stack(frames)).max() <= 8
    assert seconds == pytest.approx(count / fps, abs=0.011)
    assert [p.name for p in path.parent.iterdir()] == ["turn.gif"]


@pytest.mark.parametrize("size", [(48, 64), (47, 65)])
def test_mp4_round_trip(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = moving_square(8, size)
    path = tmp_path / "turn.mp4"
    save_animation(str(path), frames, 15.0)
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(15, rel=0.01)
    found = []
    while (page := video.read())[0]:
        found.append(page[1][: size[0], : size[1], ::-1].astype(int))
    video.release()
    assert np.stack(found).shape == (8, *size, 3)
    assert np.abs(np.stack(found) - np.stack(frames)).mean() < 6
    assert found[0][24, 12, 0] > 150 > 90 > found[0][24, 12, 2], "red, not blue"


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "turn.gif"
    path.write_bytes(b"old")

    def half(temporary: Path, *_: object) -> None:
        temporary.write_bytes(b"half")
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(export, "_write_gif", half)
    with pytest.raises(RuntimeError):
        save_animation(path, moving_square(2))
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_without_opencv_mp4_is_refused_and_gif_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"opencv.*\.gif"):
        save_animation(tmp_path / "turn.mp4", moving_square(2))
    assert not list(tmp_path.iterdir())
    save_animation(tmp_path / "turn.GIF", moving_square(2))


def test_an_opencv_without_codecs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "VIDEO_CODECS", ())
    with pytest.raises(InputError, match=r"cannot write \.mp4"):
        save_animation(tmp_path / "turn.mp4", moving_square(2))


def test_wrong_input_is_refused_with_advice(tmp_path: Path) -> None:
    good = moving_square(2)
    with pytest.raises(InputError, match=r"\.gif or \.mp4"):
        save_animation(tmp_path / "turn.avi", good)
    odd_ones = [], [good[0], good[1][:-1]], [good[0][..., 0]], [good[0].astype(np.float32)]
    for frames in odd_ones:
        with pytest.raises(InputError, match="one shape"):
            save_animation(tmp_path / "turn.gif", frames)
    for fps in (0.0, -1.0, 60.0, float("nan")):
        with pytest.raises(InputError, match="frames per second"):
            save_animation(tmp_path / "turn.gif", good, fps)
    assert not list(tmp_path.iterdir())
