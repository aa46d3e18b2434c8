"""The rules by which papers measure: which joints, from where, aligned how, against which truth.

Numbers of different rules cannot be compared, though most are called MPJPE; so every result is
printed with its rules.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from meshreg.body.skeleton import SKELETONS
from meshreg.errors import InputError

JOINT_MEASURES = ("mpjpe_mm", "pa_mpjpe_mm")


@dataclass(frozen=True)
class JointSet:
    """Some joints, where they come from and what is measured on them."""

    joints: tuple[str, ...]  # names in the regressor's set
    roots: tuple[str, ...]  # their mean goes to the origin before anything is measured
    regressor: str = ""  # joint set whose rows are applied to posed vertices; "": body's joints
    # Names among the annotated keypoints; none: truth is made from the true mesh in the same way
    annotated: tuple[str, ...] = ()
    annotated_roots: tuple[str, ...] = ()
    measures: tuple[str, ...] = JOINT_MEASURES
    label: str = ""  # ending of the names of these measures where there are several sets


@dataclass(frozen=True)
class Protocol:
    """Everything that decides what a number means."""

    name: str
    summary: str  # for the reader of a table
    joint_sets: tuple[JointSet, ...]  # the roots of the first one also align meshes
    mesh_measures: tuple[str, ...] = ()
    picture_measures: tuple[str, ...] = ()
    gendered_truth: bool = False  # whether the true mesh is that of a body of the person's gender
    pictures_named: str = ""  # only pictures whose name contains this are measured
    remark: str = ""  # what else has to be said beside the number

    def card(self) -> list[str]:
        """The rules in sentences."""
        lines = [f"{self.name}: {self.summary}"]
        for joints in self.joint_sets:
            source = f"{joints.regressor} rows on posed vertices" if joints.regressor else "body"
            truth = "annotated joints" if joints.annotated else "the true mesh, in the same way"
            lines.append(
                f"{', '.join(joints.measures)}: {len(joints.joints)} joints from {source}, minus "
                f"{' and '.join(joints.roots)}; truth from {truth}"
            )
        if self.mesh_measures or self.picture_measures:
            lines.append(f"{', '.join(self.mesh_measures + self.picture_measures)}")
        truth = "of the person's gender" if self.gendered_truth else "the predicting body"
        lines.append(f"true meshes: {truth}")
        return [*lines, self.remark] if self.remark else lines


_LIMBS = tuple(
    f"{side}_{joint}"
    for side, joint in (
        *(("right", joint) for joint in ("ankle", "knee", "hip")),
        *(("left", joint) for joint in ("hip", "knee", "ankle")),
        *(("right", joint) for joint in ("wrist", "elbow", "shoulder")),
        *(("left", joint) for joint in ("shoulder", "elbow", "wrist")),
    )
)
# The 14 joints of LSP as Human3.6M's rows give them, which is what tables on 3DPW mean by them.
H36M_14 = (*_LIMBS, "thorax", "head_h36m")
H36M_17 = (*H36M_14, "pelvis", "spine_h36m", "jaw_h36m")
_ANNOTATED_14 = (*(f"{name}_lsp" for name in _LIMBS), "neck_lsp", "head_h36m")
_ANNOTATED_17 = (*_ANNOTATED_14, "pelvis_mpii", "spine_h36m", "jaw_h36m")
_HIPS = ("right_hip", "left_hip")

_BY_PELVIS = JointSet(joints=H36M_14, roots=("pelvis",), regressor="h36m17")
_BY_HIPS = JointSet(joints=H36M_14, roots=_HIPS, regressor="h36m17")
_MOCAP_14 = JointSet(
    joints=H36M_14,
    roots=("pelvis",),
    regressor="h36m17",
    annotated=_ANNOTATED_14,
    annotated_roots=("pelvis_mpii",),
)
_TRAINED = "say whether 3DPW's training part was trained on: it is worth 4 to 8 mm of MPJPE"
_FRONTAL_CAMERA = "60457274"  # of Human3.6M

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="3dpw",
            summary="3DPW test, 14 joints, pelvis at the origin (Kolotouros et al. 2019)",
            joint_sets=(_BY_PELVIS,),
            mesh_measures=("pve_mm",),
            gendered_truth=True,
            remark=_TRAINED,
        ),
        Protocol(
            name="3dpw-hips",
            summary="3DPW test, 14 joints, mean of the hips at the origin (Li et al. 2022)",
            joint_sets=(_BY_HIPS,),
            mesh_measures=("pve_mm",),
            gendered_truth=True,
            remark=_TRAINED,
        ),
        Protocol(
            name="dsr-3dpw",
            summary="3DPW test as DSR reports it (Dwivedi et al. 2021): vertices without alignment",
            joint_sets=(_BY_PELVIS,),
            mesh_measures=("v2v_mm",),
            gendered_truth=True,
            remark="V2V compares meshes posed at translation 0 and is no PVE of other tables",
        ),
        Protocol(
            name="h36m-p1",
            summary="Human3.6M, subjects 9 and 11, all cameras, 14 mocap joints",
            joint_sets=(_MOCAP_14,),
        ),
        Protocol(
            name="h36m-p2",
            summary="Human3.6M, subjects 9 and 11, frontal camera, 14 mocap joints",
            joint_sets=(_MOCAP_14,),
            pictures_named=_FRONTAL_CAMERA,
        ),
        Protocol(
            name="mpi-inf-3dhp",
            summary="MPI-INF-3DHP test (Mehta et al. 2017), MPJPE of 17 joints, PCK and AUC of 14",
            joint_sets=(
                JointSet(
                    joints=H36M_17,
                    roots=("pelvis",),
                    regressor="h36m17",
                    annotated=_ANNOTATED_17,
                    annotated_roots=("pelvis_mpii",),
                ),
                JointSet(
                    joints=H36M_14,
                    roots=("pelvis",),
                    regressor="h36m17",
                    annotated=_ANNOTATED_14,
                    annotated_roots=("pelvis_mpii",),
                    measures=("pck150", "auc150"),
                ),
            ),
            remark="pelvis, spine and head do not count for PCK and AUC, as in the official code",
        ),
        Protocol(
            name="synth-bench-v1",
            summary="meshreg's synthetic dressed people, the body's 24 joints and LSP's 14",
            joint_sets=(
                JointSet(
                    joints=SKELETONS["smpl24"].joints,
                    roots=("pelvis",),
                    measures=(*JOINT_MEASURES, "n_mpjpe_mm"),
                ),
                JointSet(
                    joints=SKELETONS["lsp14"].joints,
                    roots=("right_hip_lsp", "left_hip_lsp"),
                    regressor="lsp14",
                    label="lsp14",
                ),
            ),
            mesh_measures=("pve_mm", "shape_mm"),
            picture_measures=("silhouette_iou", "part_iou"),
            remark="overlap is of the bare predicted body with the dressed person: 1 cannot be had",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The rules of that name.

    Raises:
        InputError: if there are none.
    """
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {list(PROTOCOLS)}."
        raise InputError(f"{name!r} is not a protocol: {hint}")
    return PROTOCOLS[name]
