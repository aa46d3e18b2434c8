"""The SMPL-format body layer: shape and pose in, vertices and joints out.

This is the only module that knows smplx. Its skinning functions are used; its module, whose
variables live inside and fix the batch size, is not, but `Body.to_smplx` hands it over for those
who want it.
"""

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshreg.body.assets import BodyData, load_body_data

NUM_JOINTS = 24
PER_VERTEX = ("v_template", "shapedirs", "weights")
# smplx picks these vertices as joints 24..44: face, feet, finger tips. Our own body puts its
# landmarks into the same places, so one table serves every SMPL-format body.
LANDMARK_VERTICES = (
    (332, 6260, 2800, 4071, 583)
    + (3216, 3226, 3387, 6617, 6624, 6787)
    + (2746, 2319, 2445, 2556, 2673)
    + (6191, 5782, 5905, 6016, 6133)
)


@dataclass(frozen=True, eq=False)
class BodyOutput:
    """A posed body, in the frame that the root rotation and `transl` put it into (metres)."""

    vertices: Float[Tensor, "B V 3"]
    joints: Float[Tensor, "B 45 3"]  # smplx's 45: 24 SMPL joints, then face, feet and finger tips


class Body(nn.Module):
    """An SMPL-format body (Loper et al. 2015): blend skinning over shape and pose blend shapes.

    The arrays are buffers, so `.to(device)` moves the body; nothing in it is trained.
    """

    v_template: Tensor
    faces: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    J_regressor: Tensor
    weights: Tensor
    parents: Tensor
    landmarks: Tensor
    joints_template: Tensor
    joints_shapedirs: Tensor

    def __init__(self, data: BodyData, *, num_betas: int = 10) -> None:
        super().__init__()
        self.data = data
        self.num_betas = min(num_betas, data.shapedirs.shape[-1])
        num_pose_columns = data.posedirs.shape[-1]
        arrays: dict[str, Any] = {
            "v_template": data.v_template,
            "shapedirs": data.shapedirs[..., : self.num_betas],
            # (207, 3V), the layout that smplx's skinning multiplies with
            "posedirs": data.posedirs.reshape(-1, num_pose_columns).T.copy(),
            "J_regressor": data.J_regressor,
            "weights": data.weights,
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)
        for name, index in {"faces": data.faces, "parents": data.parents}.items():
            self.register_buffer(name, torch.tensor(index, dtype=torch.int64), persistent=False)
        self.register_buffer("landmarks", torch.tensor(LANDMARK_VERTICES), persistent=False)
        # The rest joints are linear in the betas: keep the two factors, skip the mesh.
        self.register_buffer(
            "joints_template", self.J_regressor @ self.v_template, persistent=False
        )
        joints_shapedirs = torch.einsum("jv,vxs->jxs", self.J_regressor, self.shapedirs)
        self.register_buffer("joints_shapedirs", joints_shapedirs, persistent=False)

    @property
    def topology_hash(self) -> str:
        return self.data.topology_hash

    def forward(
        self,
        betas: Float[Tensor, "B S"],
        pose_rotmat: Float[Tensor, "B 24 3 3"],
        transl: Float[Tensor, "B 3"],
    ) -> BodyOutput:
        """Pose the body; `pose_rotmat[:, 0]` is `global_orient`, a turn about the pelvis."""
        vertices, joints = self.skin(betas, pose_rotmat, transl)
        joints = torch.cat([joints, vertices[:, self.landmarks]], 1)
        return BodyOutput(vertices=vertices, joints=joints)

    def rest_joints(self, betas: Float[Tensor, "B S"]) -> Float[Tensor, "B 24 3"]:
        """The 24 joints of the unposed body."""
        return self.joints_template + torch.einsum("bs,jxs->bjx", betas, self.joints_shapedirs)

    def skin(
        self,
        betas: Float[Tensor, "B S"],
        pose_rotmat: Float[Tensor, "B 24 3 3"],
        transl: Float[Tensor, "B 3"],
    ) -> tuple[Float[Tensor, "B V 3"], Float[Tensor, "B 24 3"]]:
        """Vertices and the 24 kinematic joints."""
        from smplx.lbs import blend_shapes

        motions, posed_joints = self.joint_motions(betas, pose_rotmat)
        rest = self.v_template + blend_shapes(betas, self.shapedirs)
        rest = rest + self.pose_correctives(pose_rotmat)
        vertices = carried(rest, torch.einsum("vj,bjrc->bvrc", self.weights, motions))
        return vertices + transl[:, None], posed_joints + transl[:, None]

    def joint_motions(
        self, betas: Float[Tensor, "B S"], pose_rotmat: Float[Tensor, "B 24 3 3"]
    ) -> tuple[Float[Tensor, "B 24 3 4"], Float[Tensor, "B 24 3"]]:
        """The rigid motion of each joint from rest to pose, and where the posed joints are."""
        from smplx.lbs import batch_rigid_transform

        posed_joints, motions = batch_rigid_transform(
            pose_rotmat, self.rest_joints(betas), self.parents, dtype=pose_rotmat.dtype
        )
        return motions[:, :, :3], posed_joints

    def pose_correctives(self, pose_rotmat: Float[Tensor, "B 24 3 3"]) -> Float[Tensor, "B V 3"]:
        """How the pose moves the rest vertices before they are skinned."""
        identity = torch.eye(3, dtype=pose_rotmat.dtype, device=pose_rotmat.device)
        pose_feature = (pose_rotmat[:, 1:] - identity).flatten(1)
        return (pose_feature @ self.posedirs).unflatten(1, (-1, 3))

    def restricted_to(self, vertex_indices: Int[Tensor, " N"]) -> "Body":
        """A body with these vertices only, in this order, and the same joints: cheap keypoints.

        Its `forward` is gone with the landmark vertices; use `skin`.
        """
        part = Body.__new__(Body)
        nn.Module.__init__(part)
        part.data, part.num_betas = self.data, self.num_betas
        cut = {name: getattr(self, name)[vertex_indices] for name in PER_VERTEX}
        cut["posedirs"] = self.posedirs.unflatten(1, (-1, 3))[:, vertex_indices].flatten(1)
        for name, whole in self.named_buffers():
            part.register_buffer(name, cut.get(name, whole), persistent=False)
        return part

    def to_smplx(self, **options: Any) -> nn.Module:
        """The same body as an `smplx.SMPL` module, for code written against smplx."""
        import smplx
        from smplx.utils import Struct

        root = 2**32 - 1  # what SMPL's files write for "no parent"
        parents = [root if p < 0 else int(p) for p in self.data.parents]
        struct = Struct(
            v_template=self.data.v_template,
            f=self.data.faces,
            shapedirs=self.data.shapedirs,
            posedirs=self.data.posedirs,
            J_regressor=self.data.J_regressor,
            weights=self.data.weights,
            kintree_table=torch.tensor([parents, list(range(NUM_JOINTS))]).numpy(),
        )
        with redirect_stdout(StringIO()):  # it prints a warning for fewer than 300 betas
            return smplx.SMPL("", data_struct=struct, num_betas=self.num_betas, **options)


def carried(
    points: Float[Tensor, "B N 3"], motions: Float[Tensor, "B N 3 4"]
) -> Float[Tensor, "B N 3"]:
    """Move each point by its own blend of joint motions."""
    return torch.einsum("bvrc,bvc->bvr", motions[..., :3], points) + motions[..., 3]


def load_body(name: str = "builtin", *, folder: Path | None = None, num_betas: int = 10) -> Body:
    """A body by name: "builtin" (free, shipped), "smpl_neutral", "smpl_male", ..., or a file.

    Raises:
        MissingFileError: if a licensed file was asked for and is not in `folder` (body_models/).
    """
    return Body(load_body_data(name, folder=folder), num_betas=num_betas)
