"""Odd motion is heard of once, in one line of the log."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from plain_people import plain_body

from meshreg.data.motion import MotionWarning
from meshreg.data.synthetic.odd_motion import odd_motion_ignored, odd_motion_in_a_line
from meshreg.train.hmr_config import SourceConfig
from meshreg.train.hmr_data import make_source


def motion_file(path: Path) -> Path:
    """A clip without a frame rate."""
    np.savez(path, poses=np.random.default_rng(0).normal(0, 0.1, (20, 72)))
    return path


def test_a_source_tells_of_odd_motion_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poses = str(motion_file(tmp_path / "a.npz"))
    make_source(SourceConfig(poses=poses), 32, plain_body())
    (record,) = caplog.records
    assert (
        record.levelno == logging.WARNING and "a.npz does not tell its frame rate" in record.message
    )
    assert "\n" not in record.message


def test_many_clips_are_counted_and_other_warnings_pass(caplog: pytest.LogCaptureFixture) -> None:
    with (
        pytest.warns(DeprecationWarning, match="old"),
        odd_motion_in_a_line(logging.getLogger("meshreg"), "walks"),
    ):
        for clip in range(3):
            warnings.warn(f"clip {clip} is odd.", MotionWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (record,) = caplog.records
    assert record.getMessage() == "3 clips of walks may be odd, such as: clip 0 is odd."
    with odd_motion_ignored():
        warnings.warn("clip is odd.", MotionWarning, stacklevel=1)


def test_sources_that_draw_people_make_them_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plain_people import plain_people

    from meshreg.data.synthetic.rendered import PeopleRecipe, RenderedPeople, poses_of

    def noisy(self: PeopleRecipe) -> object:
        poses_of(self.poses)
        return plain_people(size=32)

    monkeypatch.setattr(PeopleRecipe, "people", noisy)
    poses = str(motion_file(tmp_path / "a.npz"))
    assert len(RenderedPeople(PeopleRecipe(seed=1, size=32, poses=poses)).take([0])) == 1
