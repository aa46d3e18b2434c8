"""The first call on a machine: compiling once, broken or missing caches, several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys, torch
lines = []
class Keep(logging.Handler):
    def emit(self, record): lines.append(record.getMessage())
logging.getLogger("meshreg").addHandler(Keep())
logging.getLogger("meshreg").setLevel(logging.INFO)
from meshreg.errors import InputError
from meshreg.render.rasterizer import rasterizer
v = torch.tensor([[[0.0, 0, 1], [2, 0, 1], [0, 2, 1]]])
K = torch.eye(3)[None]
try:
    out = rasterizer().soft_semantic(v, torch.tensor([[0, 1, 2]]), K, (4, 4), v)
    print(round(float(out.alpha.sum()), 3))
except InputError as error:
    print("InputError:", error)
print(*lines, sep="\\n")
"""


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """The result and the log lines of a program, which must not have said anything else."""
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    result, *lines = out.strip().splitlines()
    return result, lines


@pytest.mark.slow
def test_kernels_are_compiled_once_by_any_number_of_processes(tmp_path: Path) -> None:
    cache = {"WARP_CACHE_PATH": str(tmp_path)}
    together = [finish(process) for process in [start(**cache), start(**cache)]]
    assert [result for result, _ in together] == ["3.0", "3.0"]
    assert any("once" in line for _, lines in together for line in lines)
    assert finish(start(**cache)) == ("3.0", [])

    objects = list(tmp_path.rglob("*.o"))
    assert objects
    for file in objects:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result, lines = finish(start(**cache))
    assert result == "3.0" and any("cannot be used" in line for line in lines)
    for file in objects:
        file.write_bytes(b"not an object file")
    assert finish(start(**cache))[0] == "3.0"
    assert finish(start(**cache)) == ("3.0", []), "the repaired cache serves the next start"


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_obstacle() -> None:
    nowhere = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache"}
    result, lines = finish(start(**nowhere))
    assert result == "3.0"
    assert any("cannot be written" in line for line in lines)
