"""Joints from vertices: every joint of a named set as a weighted mean of some vertices."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshreg.body.assets import BodyData, check_same_topology
from meshreg.body.skeleton import SKELETONS, Skeleton, map_joints, skeleton
from meshreg.errors import InputError, MissingFileError

_LOG = logging.getLogger(__name__)
_SET_OF_ROW_COUNT = {17: "h36m17", 9: "extra9", 24: "smpl24"}
# Sides are decided limb by limb: the published files mix up legs but not arms.
_LIMBS = {"leg": ("hip", "knee", "ankle"), "arm": ("shoulder", "elbow", "wrist")}
_MAX_SUM_ERROR = 0.05  # beyond this, rows are not weighted means at all
_MAX_MEAN_DISTANCE = 0.15  # metres; between regressed joints and the body's own


class JointRegressor(nn.Module):
    """Turns the vertices of one body into the joints of one set, posed or not."""

    vertex_indices: Int[Tensor, "N"]  # the vertices that any joint uses, ascending
    weight: Float[Tensor, "J N"]  # their weights; rows sum to one

    def __init__(
        self,
        *,
        rows: Float[Tensor, "J V"],
        skeleton: Skeleton,
        topology_hash: str,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        assert len(rows) == len(skeleton), (len(rows), skeleton.name)
        used = torch.nonzero(rows.any(0)).squeeze(1)
        self.skeleton = skeleton
        self.topology_hash = topology_hash
        self.num_vertices = rows.shape[1]
        self.notes = notes  # what was found and put right while loading
        # Not persistent: a checkpoint must not carry data that belongs to a body file.
        self.register_buffer("vertex_indices", used, persistent=False)
        self.register_buffer("weight", rows[:, used].contiguous(), persistent=False)

    @classmethod
    def from_body(cls, data: BodyData, joint_set: str = "smpl24") -> "JointRegressor":
        """The rows that come with a body; h36m16 is part of h36m17.

        Raises:
            InputError: if the body has none for that set.
        """
        rows = {"smpl24": data.J_regressor} | data.regressors
        if joint_set == "h36m16" and "h36m17" in rows:
            places = skeleton("h36m17").index(*skeleton("h36m16").joints)
            rows[joint_set] = rows["h36m17"][places]
        if joint_set not in rows:
            raise InputError(
                f"the body {data.name} has regressors for {', '.join(sorted(rows))}, "
                f"not for {joint_set}: choose one of these or load a file with "
                "JointRegressor.from_npy."
            )
        return cls(
            rows=_checked(rows[joint_set], f"{data.name}: {joint_set}", [])[0],
            skeleton=skeleton(joint_set),
            topology_hash=data.topology_hash,
        )

    @classmethod
    def from_npy(
        cls, path: Path, joint_set: str | None = None, *, body: BodyData
    ) -> "JointRegressor":
        """The rows of a published file such as `J_regressor_h36m.npy`, in this package's order.

        Raises:
            MissingFileError: if the file is not there.
            InputError: if it does not hold regressor rows or was made for another body.
        """
        rows = _read_rows(path, body)
        joints = _joint_set(len(rows), joint_set, path)
        tensor, notes = _checked(rows, path.name, [])
        tensor, notes = _sides_put_right(tensor, joints, body, path.name, notes)
        _check_places(tensor, joints, body, path.name)
        for note in notes:
            _LOG.warning(note)
        return cls(
            rows=tensor, skeleton=joints, topology_hash=body.topology_hash, notes=tuple(notes)
        )

    def check_body(self, topology_hash: str) -> None:
        """Refuse vertices of another body than the one this regressor was made for.

        Raises:
            InputError: if the topology differs.
        """
        check_same_topology(
            topology_hash, self.topology_hash, f"the {self.skeleton.name} regressor"
        )

    def forward(self, vertices: Float[Tensor, "*batch V 3"]) -> Float[Tensor, "*batch J 3"]:
        if vertices.shape[-2] != self.num_vertices:
            raise InputError(
                f"this {self.skeleton.name} regressor expects {self.num_vertices} vertices but got "
                f"{vertices.shape[-2]}: use the regressor of the body that made them."
            )
        return self.from_used_vertices(vertices[..., self.vertex_indices, :])

    def from_used_vertices(
        self, vertices: Float[Tensor, "*batch N 3"]
    ) -> Float[Tensor, "*batch J 3"]:
        """The same joints when only the vertices in `vertex_indices` were computed."""
        return self.weight.to(vertices.dtype) @ vertices

    def extra_repr(self) -> str:
        return f"{self.skeleton.name}, {len(self.vertex_indices)} of {self.num_vertices} vertices"


def _read_rows(path: Path, body: BodyData) -> np.ndarray:  # (J, V)
    if not path.is_file():
        raise MissingFileError(f"no regressor file at {path}: check the path.")
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is not a readable .npy file: download it again.") from error
    wanted = len(body.v_template)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
        raise InputError(f"{path} must hold one array of joints by vertices: give another file.")
    if rows.shape[1] != wanted:
        raise InputError(
            f"{path} has weights for {rows.shape[1]} vertices, but the body {body.name} has "
            f"{wanted}: load the body it was made for, or use the body's own rows with "
            "JointRegressor.from_body."
        )
    return rows


def _joint_set(num_rows: int, name: str | None, path: Path) -> Skeleton:
    if name is None:
        if num_rows not in _SET_OF_ROW_COUNT:
            fitting = [key for key, joints in SKELETONS.items() if len(joints) == num_rows]
            raise InputError(
                f"{path} has {num_rows} rows, which does not tell its joint set: "
                f"pass joint_set, for example {fitting or sorted(SKELETONS)}."
            )
        name = _SET_OF_ROW_COUNT[num_rows]
    joints = skeleton(name)
    if len(joints) != num_rows:
        raise InputError(
            f"{path} has {num_rows} rows, but {name} has {len(joints)} joints: "
            "pass the joint set that the file was made for."
        )
    return joints


def _checked(rows: np.ndarray, what: str, notes: list[str]) -> tuple[Tensor, list[str]]:
    """The rows as float32, after checking that each is a weighted mean."""
    if not np.isfinite(rows).all():
        raise InputError(f"{what} holds values that are not finite: download the file again.")
    error = float(np.abs(rows.sum(1) - 1).max())
    if error > _MAX_SUM_ERROR:
        raise InputError(
            f"the rows of {what} should sum to one but miss it by up to {error:.3g}: "
            "this is not a joint regressor."
        )
    if error > 1e-3:
        notes = [*notes, f"{what}: rows sum to one only within {error:.1g}; kept as published."]
    if (rows < -1e-6).any():
        notes = [*notes, f"{what}: some weights are negative, joints may leave the body."]
    return torch.from_numpy(rows.astype(np.float32)), notes


def _sides_put_right(
    rows: Tensor, joints: Skeleton, body: BodyData, what: str, notes: list[str]
) -> tuple[Tensor, list[str]]:
    """Exchange the rows of a limb's sides if the file has them the other way round.

    The widely copied `J_regressor_h36m.npy` has the left leg where Human3.6M has the right one. In
    the T-pose the body's left is +x, so the template tells which is which.
    """
    x = (rows @ torch.from_numpy(body.v_template))[:, 0]
    order = list(range(len(joints)))
    for limb, parts in _LIMBS.items():
        lefts = [
            i
            for i, name in enumerate(joints.joints)
            if name.startswith("left_") and name.split("_")[1] in parts
        ]
        swapped = [bool(x[i] < x[joints.flip[i]]) for i in lefts]
        if any(swapped) and not all(swapped):
            raise InputError(
                f"{what} has some joints of the {limb}s on the left and some on the right of "
                f"{body.name}: it is not in an order of {joints.name}, or for another body."
            )
        if lefts and all(swapped):
            for i in lefts:
                order[i], order[joints.flip[i]] = joints.flip[i], i
            notes = [*notes, f"{what}: left and right {limb} rows were exchanged; put right."]
    return rows[order], notes


def _check_places(rows: Tensor, joints: Skeleton, body: BodyData, what: str) -> None:
    """Refuse rows that put the joints nowhere near the body's own: the vertex order is another."""
    template = torch.from_numpy(body.v_template)
    own = torch.from_numpy(body.J_regressor) @ template
    places, found = map_joints(skeleton("smpl24"), joints, approximate=True)
    distance = torch.linalg.vector_norm(rows @ template - own[places], dim=-1)[torch.tensor(found)]
    if len(distance) and float(distance.mean()) > _MAX_MEAN_DISTANCE:
        raise InputError(
            f"{what} puts the joints of {body.name} {float(distance.mean()):.2f} m from where they "
            "are: its vertices are numbered like another body's, so load that body."
        )
