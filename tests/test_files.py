"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest
from smpl_files import one_sentence

from meshreg.errors import InputError
from meshreg.files import written_whole


def write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text)


def test_the_file_appears_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "result.npz"
    with written_whole(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".npz"
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupt_leaves_the_old_file(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    path = tmp_path / "result.txt"
    write(path, "old")
    with pytest.raises(interruption), written_whole(path) as temporary:
        temporary.write_text("half of the n")
        raise interruption
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write(path, "new")
    assert path.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "result.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "result.txt").stat().st_mode & 0o777 == 0o640


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in ("file/result.txt", "file/deeper/result.txt", "folder", "x" * 300 + ".txt"):
        with pytest.raises(InputError, match="cannot write") as caught:
            write(tmp_path / path, "text")
        assert one_sentence(str(caught.value).replace(str(tmp_path), "")), str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
