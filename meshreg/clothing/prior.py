"""What people wear where: for each vertex of a body the probabilities of the labels.

The idea of DSR's semantic prior (Dwivedi et al. 2021), kept per vertex and free of SMPL's data.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.smpl import Body
from meshreg.clothing.groups import Grouping
from meshreg.clothing.labels import NUM_LABELS
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

SEMANTIC_PRIOR_PATH = Path(__file__).with_name("semantic_prior.safetensors")
_FORMAT = "meshreg semantic prior 1"
_ABOUT = ("topology_hash", "recipe", "licence")
_MAKE_ANOTHER = "learn one from your own fits and label maps with `meshreg prior learn`."


@dataclass(frozen=True, eq=False)
class SemanticPrior:
    """How likely each label is where a point of the body's surface is seen."""

    # Rows sum to one. The background's column is the share of pixels at which a parser sees no
    # person; zero unless those were counted.
    probs: Float[Tensor, "V 20"]
    topology_hash: str  # of the body whose vertices these are
    recipe: str = ""  # how it was made
    licence: str = ""  # one line: who owns it and under which terms

    def per_face(self, faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 20"]:
        """The probabilities of each triangle: the mean of its corners."""
        return self.probs[faces].mean(1)

    def group(self, grouping: Grouping) -> Float[Tensor, "V G"]:
        """The probabilities of groups of labels, such as bare skin."""
        return self.probs @ grouping.membership.to(self.probs)

    def to(self, device: torch.device | str) -> "SemanticPrior":
        return replace(self, probs=self.probs.to(device))


def save_semantic_prior(path: str | Path, prior: SemanticPrior) -> None:
    """Write a prior as safetensors, in half precision: 0.28 MB for 7000 vertices.

    Raises:
        InputError: if the file name does not end in `.safetensors`, or cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"expected a file name ending in .safetensors, found {path.name}: rename it."
        )
    about = {name: getattr(prior, name) for name in _ABOUT}
    # One entry of JSON, because safetensors writes several in any order.
    metadata = {_FORMAT: json.dumps(about)}
    probs = prior.probs.detach().cpu().to(torch.float16).contiguous()
    with written_whole(path) as temporary:
        save_file({"probs": probs}, temporary, metadata=metadata)


def load_semantic_prior(
    path: str | Path | None = None, *, body: Body | None = None
) -> SemanticPrior:
    """Read a prior; without a path the one that comes with meshreg, for the built-in body.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, holds something else, or belongs to another body.
    """
    path = SEMANTIC_PRIOR_PATH if path is None else Path(path)
    if not path.is_file():
        raise MissingFileError(f"no semantic prior at {path}: {_MAKE_ANOTHER}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_FORMAT, "{}"))
            probs = file.get_tensor("probs").float()
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} is damaged or no semantic prior ({error}): {_MAKE_ANOTHER}"
        ) from error
    if not set(_ABOUT) <= set(about) or not _is_distribution(probs):
        raise InputError(f"{path} is no semantic prior: {_MAKE_ANOTHER}")
    prior = SemanticPrior(
        probs=probs / probs.sum(1, keepdim=True),  # half precision leaves 1e-3
        **{name: str(about[name]) for name in _ABOUT},
    )
    if body is not None:
        check_same_topology(body.topology_hash, prior.topology_hash, f"the prior {path}")
    return prior


def _is_distribution(probs: Tensor) -> bool:
    if probs.ndim != 2 or probs.shape[1] != NUM_LABELS:
        return False
    return bool((probs >= 0).all() and (probs.sum(1) - 1).abs().max() < 0.05)
