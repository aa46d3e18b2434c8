"""What a natural body looks like: a pose prior, joint limits and a shape prior."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from meshreg.errors import InputError, MissingFileError

NUM_PRIOR_JOINTS = 21  # SMPL's body joints 1..21; the two hands carry no pose in mocap
PRIOR_PATH = Path(__file__).with_name("pose_prior.safetensors")
_TENSORS = {"means", "whitening", "weights", "lower", "upper", "relaxed"} | {
    f"bank.{name}" for name in ("root_rotmat", "body_pose", "weight")
}
_MAKE_ANOTHER = "reinstall meshreg, or learn one from your own motion with `meshreg prior pose`."


@dataclass(frozen=True, eq=False)
class PoseBank:
    """Representative poses, as starting points: the centres of clusters of mocap frames."""

    root_rotmat: Float[Tensor, "N 3 3"]  # tilt of the root in a y-up world, heading taken out
    body_pose: Float[Tensor, "N 21 3"]  # axis-angle, radians
    weight: Float[Tensor, " N"]  # share of the frames in this cluster, sums to one


class PosePrior(nn.Module):
    """A mixture of Gaussians over the axis-angle pose of SMPL's 21 body joints, with joint limits.

    The idea of a mixture prior is from SMPLify (Bogo et al. 2016); here the full mixture density is
    used, not its largest component, so the energy is smooth.
    """

    means: Tensor
    whitening: Tensor
    log_weights: Tensor
    lower: Tensor
    upper: Tensor
    relaxed: Tensor

    def __init__(
        self,
        *,
        means: Float[Tensor, "K 63"],
        whitening: Float[Tensor, "K 63 63"],
        weights: Float[Tensor, " K"],
        lower: Float[Tensor, "21 3"],
        upper: Float[Tensor, "21 3"],
        relaxed: Float[Tensor, "21 3"],
    ) -> None:
        """Arrays of the density, of its limits, and of a pose for what nobody sees.

        `whitening` makes a deviation unit variance: L^-1 of the covariance L L^T.
        """
        super().__init__()
        log_volume = whitening.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        self.register_buffer("means", means)
        self.register_buffer("relaxed", relaxed)
        self.register_buffer("whitening", whitening)
        self.register_buffer("log_weights", weights.log() + log_volume)
        self.register_buffer("lower", lower)
        self.register_buffer("upper", upper)

    def forward(self, body_pose: Float[Tensor, "*batch J 3"]) -> Float[Tensor, "*batch"]:
        """Negative log density per pose in nats; joints after the 21st are ignored."""
        x = body_pose[..., :NUM_PRIOR_JOINTS, :].flatten(-2)
        z = torch.einsum("kij,...kj->...ki", self.whitening, x[..., None, :] - self.means)
        half_log_2pi = 0.5 * math.log(2 * math.pi) * x.shape[-1]
        return -torch.logsumexp(self.log_weights - 0.5 * z.square().sum(-1), -1) + half_log_2pi

    def from_relaxed(
        self, body_pose: Float[Tensor, "*batch J 3"], weight: Float[Tensor, " J"]
    ) -> Float[Tensor, "*batch"]:
        """Weighted squared distance from the relaxed pose, rad^2; relaxed hands do not turn."""
        relaxed = torch.zeros_like(body_pose)
        relaxed[..., :NUM_PRIOR_JOINTS, :] = self.relaxed
        return (weight[:, None] * (body_pose - relaxed).square()).sum((-1, -2))

    def beyond_limits(self, body_pose: Float[Tensor, "*batch J 3"]) -> Float[Tensor, "*batch"]:
        """Sum over all angles of the squared excess over the range seen in mocap, rad^2."""
        x = body_pose[..., :NUM_PRIOR_JOINTS, :]
        excess = (self.lower - x).clamp_min(0) + (x - self.upper).clamp_min(0)
        return excess.square().sum((-1, -2))


def shape_prior(betas: Float[Tensor, "*batch S"]) -> Float[Tensor, "*batch"]:
    """Half the squared betas: they have unit variance, so this is their negative log density."""
    return 0.5 * betas.square().sum(-1)


def load_pose_prior(path: Path = PRIOR_PATH) -> tuple[PosePrior, PoseBank]:
    """The shipped prior and its bank of poses.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or holds something else.
    """
    tensors, _ = _read(path)
    prior = PosePrior(
        means=tensors["means"],
        whitening=tensors["whitening"],
        weights=tensors["weights"],
        lower=tensors["lower"],
        upper=tensors["upper"],
        relaxed=tensors["relaxed"],
    )
    bank = PoseBank(
        # Half precision leaves matrices that are rotations to three digits only.
        root_rotmat=roma.special_procrustes(tensors["bank.root_rotmat"]),
        body_pose=tensors["bank.body_pose"],
        weight=tensors["bank.weight"],
    )
    return prior, bank


def pose_prior_recipe(path: Path = PRIOR_PATH) -> dict[str, str]:
    """How the prior was made and whom to thank, as written into its file.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or holds something else.
    """
    _, recipe = _read(path)
    return recipe


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise MissingFileError(f"no pose prior at {path}: {_MAKE_ANOTHER}")
    try:
        with safe_open(path, framework="pt") as file:
            recipe = json.loads((file.metadata() or {}).get("recipe", "{}"))
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}): {_MAKE_ANOTHER}") from error
    if missing := sorted(_TENSORS - set(tensors)):
        raise InputError(f"{path} is no pose prior, it lacks {', '.join(missing)}: {_MAKE_ANOTHER}")
    return tensors, recipe
