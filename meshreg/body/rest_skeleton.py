"""The 24 unposed joints of an SMPL-format body, as a function of its shape."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.errors import InputError

JOINT_NAMES = skeleton("smpl24").joints
PARENTS = skeleton("smpl24").parents


@dataclass(frozen=True, eq=False)
class RestSkeleton:
    """The joints that a body regresses from its unposed surface: linear in the betas."""

    template: Float[Tensor, "24 3"]  # metres, of the mean shape
    shapedirs: Float[Tensor, "24 3 S"]  # metres per unit of each beta

    @classmethod
    def of(cls, body: Body) -> "RestSkeleton":
        return cls(template=body.joints_template, shapedirs=body.joints_shapedirs)

    @property
    def num_betas(self) -> int:
        return self.shapedirs.shape[-1]

    def like(self, tensor: Tensor) -> "RestSkeleton":
        """The same skeleton in the precision and on the device of a tensor."""
        return RestSkeleton(template=self.template.to(tensor), shapedirs=self.shapedirs.to(tensor))

    def joints(self, betas: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch 24 3"]:
        """The unposed joints; betas left out at the end are zero.

        Raises:
            InputError: if there are more betas than the body has shape columns.
        """
        self.check_betas(betas.shape[-1])
        directions = self.shapedirs[..., : betas.shape[-1]].flatten(0, 1)
        return self.template + (betas @ directions.mT).unflatten(-1, (24, 3))

    def check_betas(self, number: int) -> None:
        if number > self.num_betas:
            raise InputError(
                f"{number} betas were given, but this body has {self.num_betas} shape columns: "
                f"load it with num_betas={number} from a file that has as many."
            )


def check_joints(joints: Float[Tensor, "*batch 24 3"]) -> None:
    """Refuse joints that are not numbers: every joint further down the arm or leg needs them.

    Raises:
        InputError: naming the first one.
    """
    finite = joints.isfinite().all(-1)
    if not bool(finite.all()):
        place = int((~finite).reshape(-1, 24).nonzero()[0, 1])
        raise InputError(
            f"the joint {JOINT_NAMES[place]} is not finite: inverse kinematics needs all 24 "
            "joints, so leave such bodies out or fill the gaps first."
        )


def unit(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The direction of a vector; of a zero vector zero, with a gradient that is finite."""
    return torch.nn.functional.normalize(vector, dim=-1, eps=1e-12)
