"""The losses of DSR's released training that need no rendering, number for number.

Only for comparison (Dwivedi et al. 2021, in the tradition of HMR and SPIN): its means run over all
elements, also those of confidence zero, so a term shrinks as fewer joints are annotated. Better
ones are in `keypoints` and `parameters`.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.losses.parameters import scale_prior
from meshreg.losses.terms import Term

NUM_OPENPOSE = len(SKELETONS["openpose25"])  # the detected joints, before the annotated ones
HIPS = SKELETONS["spin49"].index("right_hip_lsp", "left_hip_lsp")
OVERALL = 60.0  # multiplies every weight
WEIGHTS = {
    "keypoints": 5.0,
    "joints": 5.0,
    "pose": 1.0,
    "betas": 0.001,
    "vertices": 0.0,
    "camera": 1.0,
    "dsr_mc": 0.1,  # the released configuration; the code's own default is 0.2
    "dsr_c": 0.1,
}


@dataclass(frozen=True, eq=False)
class PaperBody:
    """A batch of bodies, predicted or true, in the 49 joints of SPIN."""

    pose_rotmat: Float[Tensor, "B 24 3 3"]
    betas: Float[Tensor, "B 10"]
    vertices: Float[Tensor, "B V 3"]  # metres
    joints: Float[Tensor, "B 49 3"]  # metres; of a truth only the last 24 are read
    points: Float[Tensor, "B 49 2"]  # -1 ... 1 in the crop


@dataclass(frozen=True, eq=False)
class PaperTruth:
    """What is known of a batch: bodies, confidences, and which samples have 3D."""

    body: PaperBody
    points_confidence: Float[Tensor, "B 49"]
    joints_confidence: Float[Tensor, "B 49"]
    has_body: Bool[Tensor, " B"]
    has_joints: Bool[Tensor, " B"]


def hmr_terms(pred: PaperBody, truth: PaperTruth, scale: Float[Tensor, " B"]) -> dict[str, Term]:
    """The released sum without its rendered losses; `scale` is the first camera parameter."""
    target, known = truth.body, truth.has_body
    values = {
        "keypoints": lambda: keypoint_error(pred.points, target.points, truth.points_confidence),
        "joints": lambda: joint_error(
            pred.joints, target.joints, truth.joints_confidence, truth.has_joints
        ),
        "pose": lambda: squared_error(pred.pose_rotmat, target.pose_rotmat, known),
        "betas": lambda: squared_error(pred.betas, target.betas, known),
        "vertices": lambda: absolute_error(pred.vertices, target.vertices, known),
        "camera": lambda: scale_prior(scale),
    }
    return {name: Term(OVERALL * WEIGHTS[name], value) for name, value in values.items()}


def keypoint_error(
    points: Float[Tensor, "B 49 2"],
    target: Float[Tensor, "B 49 2"],
    confidence: Float[Tensor, "B 49"],
    *,
    openpose_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """The mean over all joints and samples, annotated or not; OpenPose's count as weighted."""
    weight = confidence.new_ones(49)
    weight[:NUM_OPENPOSE] = openpose_weight
    return ((confidence * weight)[..., None] * (points - target).square()).mean()


def joint_error(
    joints: Float[Tensor, "B 49 3"],
    target: Float[Tensor, "B 49 3"],
    confidence: Float[Tensor, "B 49"],
    known: Bool[Tensor, " B"],
) -> Float[Tensor, ""]:
    """The mean over the 24 annotated joints of samples with 3D, from the middle of the hips."""
    if not bool(known.any()):
        return joints.new_zeros(())
    joints, target = (points - points[:, HIPS].mean(1, keepdim=True) for points in (joints, target))
    error = confidence[..., None] * (joints - target).square()
    return error[known][:, NUM_OPENPOSE:].mean()


def squared_error(
    pred: Float[Tensor, "B *shape"], target: Float[Tensor, "B *shape"], known: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """The mean over samples with a body; 0 if there are none."""
    if not bool(known.any()):
        return pred.new_zeros(())
    return (pred[known] - target[known]).square().mean()


def absolute_error(
    pred: Float[Tensor, "B *shape"], target: Float[Tensor, "B *shape"], known: Bool[Tensor, " B"]
) -> Float[Tensor, ""]:
    """The mean over samples with a body; 0 if there are none."""
    if not bool(known.any()):
        return pred.new_zeros(())
    return (pred[known] - target[known]).abs().mean()
