"""Synthetic twins of the licensed SMPL files, and pickles that try to run code."""

import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from meshreg.body import official
from meshreg.body.skeleton import skeleton

V, F, J = official.NUM_VERTICES, official.NUM_FACES, official.NUM_JOINTS


def smpl_arrays(num_betas: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of SMPL's shapes; mostly zeros in the large ones, so that they compress quickly."""
    random = np.random.default_rng(seed)
    parents = np.array([2**32 - 1, *skeleton("smpl24").parents[1:]], np.uint32)
    rows = np.zeros((J, V))
    weights = np.zeros((V, J))
    shapedirs = np.zeros((V, 3, num_betas))
    shapedirs[:50] = random.normal(size=(50, 3, num_betas))
    posedirs = np.zeros((V, 3, 207))
    posedirs[:50] = random.normal(size=(50, 3, 207))
    for joint in range(J):
        rows[joint, random.choice(V, 5, replace=False)] = 0.2
    weights[np.arange(V), random.integers(0, J, V)] = 0.75
    weights[:, 0] += 0.25
    return {
        "v_template": random.normal(size=(V, 3)),
        "f": random.integers(0, V, (F, 3)).astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": rows,
        "weights": weights,
        "kintree_table": np.stack([parents, np.arange(J, dtype=np.uint32)]),
    }


class FakeChumpy:
    """Modules that look like chumpy to pickle, there only while something is written."""

    def __init__(self) -> None:
        self.modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch")}
        self.modules["chumpy.reordering"] = types.ModuleType("chumpy.reordering")
        self.Ch = self._make("chumpy.ch", "Ch")
        self.Select = self._make("chumpy.reordering", "Select")
        self.Reshape = self._make("chumpy.reordering", "Reshape")
        self.transpose = self._make("chumpy.reordering", "transpose")
        self.Concatenate = self._make("chumpy.reordering", "Concatenate")

    def _make(self, module: str, name: str) -> type:
        made = type(name, (object,), {"__module__": module})
        setattr(self.modules[module], name, made)
        return made

    def node(self, kind: type, **state: Any) -> Any:
        made = kind()
        made.__dict__ |= state
        return made

    def ch(self, x: Any) -> Any:
        return self.node(self.Ch, x=x, _dirty_vars={"x"}, _itr=3)

    def select(self, x: np.ndarray) -> Any:
        order = np.random.default_rng(0).permutation(x.size)
        shuffled = np.empty(x.size)
        shuffled[order] = x.ravel()
        a = self.ch(shuffled)
        return self.node(self.Select, a=a, idxs=order, preferred_shape=x.shape)

    def dumps(self, value: Any, protocol: int = 2) -> bytes:
        sys.modules.update(self.modules)
        try:
            return pickle.dumps(value, protocol)
        finally:
            for name in self.modules:
                del sys.modules[name]


CHUMPY = FakeChumpy()


def official_pickle(arrays: dict[str, np.ndarray], protocol: int = 2, **extra: Any) -> bytes:
    fields = {
        **arrays,
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        "shapedirs": CHUMPY.ch(arrays["shapedirs"]),
        "weights": CHUMPY.select(arrays["weights"]),
        "J": CHUMPY.ch(np.zeros((J, 3))),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
        **extra,
    }
    return CHUMPY.dumps(fields, protocol)


def npz_bytes(fields: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **fields)
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Calls:
    """Pickles to a call of any function with any arguments."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def one_sentence(message: str) -> bool:
    return message.endswith(".") and ". " not in message and "\n" not in message
