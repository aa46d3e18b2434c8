"""The semantic prior that DSR's authors give out, one row per face of SMPL, brought in."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from meshreg.body.smpl import Body
from meshreg.clothing.counting import labels_from_joints
from meshreg.clothing.labels import NUM_LABELS
from meshreg.clothing.prior import SemanticPrior
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.mesh import triangle_areas

SMPL_FACES = 13776


def import_face_prior(path: str | Path, body: Body) -> SemanticPrior:
    """A prior per vertex from `semantic_prior.npy`, an array (13776, 20) over SMPL's faces.

    A vertex gets the mean of its faces, weighted by their area, because a large face is seen more.
    The array keeps the order of SMPL's faces, so only a body of SMPL's own topology takes it.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds anything else, or the body is not SMPL's.
    """
    path = Path(path)
    if len(body.faces) != SMPL_FACES:
        raise InputError(
            f"{path} belongs to SMPL's {SMPL_FACES} faces, but the body {body.data.name} has "
            f"{len(body.faces)}: add a licensed SMPL file with `meshreg models add` and use that."
        )
    per_face = torch.from_numpy(_read_rows(path)).to(body.v_template.device)
    area = triangle_areas(body.v_template, body.faces)
    total = per_face.new_zeros(len(body.v_template), NUM_LABELS)
    for corner in range(3):
        total.index_add_(0, body.faces[:, corner], per_face * area[:, None])
    mass = total.sum(1, keepdim=True)
    known = total / torch.where(mass > 0, mass, 1.0)
    return SemanticPrior(
        probs=torch.where(mass > 0, known, labels_from_joints(body.weights)),
        topology_hash=body.topology_hash,
        recipe=f"the mean over faces, weighted by area, of {path.name} (Dwivedi et al. 2021)",
        licence="Max-Planck-Gesellschaft, non-commercial research only, not to be passed on",
    )


def _read_rows(path: Path) -> Float[np.ndarray, "F 20"]:
    """The rows of the file, each summing to one or all zero.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds anything else.
    """
    if not path.is_file():
        raise MissingFileError(f"no prior at {path}: download it from DSR's project page.")
    expected = f"expected an array of {SMPL_FACES} x {NUM_LABELS} probabilities in {path}"
    try:
        array = np.load(path, allow_pickle=False)
        rows = np.asarray(array, np.float32).squeeze()
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise InputError(
            f"{expected}, found something else or a damaged file: download it again."
        ) from error
    if rows.shape != (SMPL_FACES, NUM_LABELS):
        raise InputError(f"{expected}, found the shape {rows.shape}: give DSR's own file.")
    if not np.isfinite(rows).all() or (rows < 0).any():
        raise InputError(f"{expected}, found negative or not finite numbers: download it again.")
    total = rows.sum(1, keepdims=True)
    return rows / np.where(total > 0, total, 1)
