"""How wrong a regressor's answer probably is, joint by joint: its own doubts, calibrated.

A network learns its doubts on people whom it trains on, and says them of its maps rather than of
the body that it ends with. A small monotone map, learned on other people, turns them into Laplace
scales (mean absolute errors) of both.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.errors import InputError
from meshreg.models.outputs import JointEvidence
from meshreg.weight_files import read_header, write_header

KEY = "meshreg_doubts"  # of the JSON text in a model file's header
FORMAT = 1
SIGNS = ("spread", "depth_spread", "gap", "outside")  # what doubts are made of, in this order
LEAST_GAP = 0.02  # half sides: maps are no finer
MOST_OUTSIDE = 2.0  # half sides


@dataclass(frozen=True, eq=False)
class JointDoubts:
    """Laplace scales of errors, which are how large errors are on average."""

    points: Float[Tensor, "B 45"]  # of both coordinates of `JointEvidence.points`, half sides
    across: Float[Tensor, "B 45"]  # of the body's joints from its pelvis, camera x and y, metres
    depth: Float[Tensor, "B 45"]  # the same along camera z, metres
    place: Float[Tensor, " B"]  # of the logarithm of the pelvis' depth


@dataclass(frozen=True, eq=False)
class ScaleMap:
    """Scales as exp(offset + slope * signs): more of any sign never makes a scale smaller."""

    offset: Float[Tensor, " J"]
    slope: Float[Tensor, " S"]  # 0 or more

    def __call__(self, signs: Float[Tensor, "B J S"]) -> Float[Tensor, "B J"]:
        return (self.offset + signs @ self.slope).exp()


@dataclass(frozen=True, eq=False)
class DoubtCalibration:
    """The maps from a network's signs of doubt to the scales of its errors."""

    points: ScaleMap
    across: ScaleMap
    depth: ScaleMap
    place: ScaleMap  # of one value, from the mean signs of all joints

    def __call__(self, signs: Float[Tensor, "B 45 S"]) -> JointDoubts:
        return JointDoubts(
            points=self.points(signs),
            across=self.across(signs),
            depth=self.depth(signs),
            place=self.place(signs.mean(1, keepdim=True))[:, 0],
        )

    def to(self, like: Tensor) -> "DoubtCalibration":
        """The same maps where, and as precise as, a tensor is."""
        return DoubtCalibration(
            **{
                name: ScaleMap(offset=part.offset.to(like), slope=part.slope.to(like))
                for name, part in vars(self).items()
            }
        )


def signs_of_doubt(
    evidence: JointEvidence, joints: Float[Tensor, "B 45 2"]
) -> Float[Tensor, "B 45 S"]:
    """What errors can be foretold from, by `SIGNS`.

    `joints` are those of the predicted body in the crop, whose borders are at -1 and 1. Where they
    are far from the maps' points, or outside the crop, where maps cannot point, one of the two
    must be wrong.
    """
    gap = (evidence.points - joints).abs().mean(-1)
    outside = (joints.abs().amax(-1) - 1).clamp(0.0, MOST_OUTSIDE)
    signs = (evidence.log_spread, evidence.log_depth_spread, (gap + LEAST_GAP).log(), outside)
    return torch.stack(signs, -1)


# --- in the header of a model's file --------------------------------------------------------------
def write_doubts(path: Path, calibration: DoubtCalibration) -> None:
    """Put the calibration into the header of a model's file; its weights stay as they are.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or cannot be written.
    """
    numbers = {
        name: {key: [round(x, 4) for x in value.tolist()] for key, value in asdict(part).items()}
        for name, part in vars(calibration).items()
    }
    write_header(path, KEY, {"format": FORMAT, "signs": SIGNS, **numbers})


def read_doubts(path: Path) -> DoubtCalibration | None:
    """The calibration of a model's file, None if it has none or one of another version.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if the calibration is damaged.
    """
    text = read_header(path).get(KEY)
    if text is None:
        return None
    try:
        values: dict[str, Any] = json.loads(text)
        if values["format"] != FORMAT or tuple(values["signs"]) != SIGNS:
            return None
        return DoubtCalibration(
            **{field.name: _scale_map(values[field.name]) for field in fields(DoubtCalibration)}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the calibration of doubts in {path} is damaged ({error}): copy the file again."
        ) from error


def _scale_map(values: dict[str, list[float]]) -> ScaleMap:
    return ScaleMap(offset=torch.tensor(values["offset"]), slope=torch.tensor(values["slope"]))
