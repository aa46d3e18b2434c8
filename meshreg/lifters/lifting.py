"""From the 2D joints of a whole clip to 3D poses: windows in, poses of all frames out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.errors import InputError
from meshreg.geometry.mirror import mirror
from meshreg.geometry.screen import Size, to_screen
from meshreg.geometry.windows import Windows, merged, middle, windows
from meshreg.lifters.hot import KeptPoses, PrunedLifter, TokenPruning

JOINT_SET_OF_COUNT = {17: "h36m17", 15: "humaneva15"}
# Joints, over all frames of all windows, that a processor works on at once: with more, wide
# networks take longer per window (benchmarks/lifter_speed.py).
_JOINTS_AT_ONCE = 2**13


@dataclass(frozen=True)
class ClipSizes:
    """What a lifter takes and gives."""

    frames: int  # of a window
    num_joints: int
    in_channels: int  # 2: x and y; 3: the detector's confidence too
    predicts: Literal["sequence", "centre"]  # the poses of all frames, or of the middle one


def clip_sizes(network: nn.Module) -> ClipSizes:
    """What this lifter takes and gives."""
    inner: Any = network.lifter if isinstance(network, PrunedLifter) else network
    is_centre = isinstance(network, TokenPruning) or inner.predicts == "centre"
    predicts: Literal["sequence", "centre"] = "centre" if is_centre else "sequence"
    return ClipSizes(inner.frames, inner.num_joints, inner.in_channels, predicts)


def lift(  # noqa: PLR0913
    network: nn.Module,
    keypoints_px: Float[Tensor, "T J 2"],
    image_size: Size,
    *,
    confidence: Float[Tensor, "T J"] | None = None,
    joint_set: Skeleton | None = None,
    flip: bool = True,
    keep_root: bool = False,
    stride: int | None = None,
    batch_size: int = 32,
) -> Float[Tensor, "T J 3"]:
    """3D joints in metres from the root joint, along the camera's axes (x right, y down, z away).

    `image_size` is (height, width). `flip` averages with what is said of the mirrored clip. Clips
    shorter than a window are filled up with their last frame; networks of one frame see the ends
    repeated. The root joint becomes the origin, unless `keep_root` leaves all joints where the
    network put them, the root some millimetres off. A `stride` shorter than a window averages
    overlapping ones, for sequence networks. Up to `batch_size` windows are lifted at once, on a
    processor fewer long ones.

    Raises:
        InputError: if there are no frames, the joints are not the network's, some are not finite,
            or the size of the pictures is none.
    """
    sizes = clip_sizes(network)
    joints = joint_set_of(sizes.num_joints, joint_set)
    _check(keypoints_px, joints)
    x = to_screen(keypoints_px.float(), image_size)
    if sizes.in_channels == 3:
        known = torch.ones_like(x[..., 0]) if confidence is None else confidence.to(x)
        x = torch.cat([x, known[..., None]], -1)
    where = lifting_windows(len(x), sizes, stride=stride)
    device = next(network.parameters()).device
    at_once = _at_once(sizes, device, batch_size)
    with _at_rest(network), torch.inference_mode():
        parts = [
            predict_windows(network, x[frames].to(device), flip=joints.flip if flip else None)
            for frames in where.frames.split(at_once)
        ]
    poses = merged(torch.cat(parts).to(keypoints_px.device), predicted(where, sizes), len(x))
    if keep_root:
        return poses
    return poses - poses[:, [joints.parents.index(-1)]]


def _at_once(sizes: ClipSizes, device: torch.device, at_most: int) -> int:
    """How many windows to lift together; networks of single frames are small enough for all."""
    if device.type != "cpu" or sizes.predicts == "centre":
        return at_most
    fitting = _JOINTS_AT_ONCE // (sizes.frames * sizes.num_joints)
    return max(1, min(at_most, fitting))


def lifting_windows(length: int, sizes: ClipSizes, *, stride: int | None = None) -> Windows:
    """The windows in which a clip is lifted: around each frame, or one after the other."""
    if sizes.predicts == "centre":
        return windows(length, sizes.frames, policy="centred")
    return windows(length, sizes.frames, policy="flush", stride=stride)


def predicted(where: Windows, sizes: ClipSizes) -> Windows:
    """The frames of windows whose poses are predicted."""
    return where if sizes.predicts == "sequence" else where.at(middle(sizes.frames))


def predict_windows(
    network: nn.Module, x: Float[Tensor, "B T J C"], *, flip: tuple[int, ...] | None
) -> Float[Tensor, "B S J 3"]:
    """Poses of all frames of each window, or of its middle one (S = 1).

    With `flip`, the joints' mirror images, averaged with what is said of the mirrored window. A
    network that leaves out frames then looks at the same ones again.
    """
    plain = network(x)
    if flip is None:
        return _wanted(plain, network)
    kept = {"frames": plain.frames} if isinstance(plain, KeptPoses) else {}
    mirrored = _wanted(network(mirror(x, flip), **kept), network)
    return (_wanted(plain, network) + mirror(mirrored, flip)) / 2


def joint_set_of(num_joints: int, joint_set: Skeleton | None = None) -> Skeleton:
    """The joint set given, or the usual one of so many joints.

    Raises:
        InputError: if it has another number of joints, or none is usual.
    """
    if joint_set is None:
        if num_joints not in JOINT_SET_OF_COUNT:
            raise InputError(
                f"no joint set of {num_joints} joints is usual for lifters: pass joint_set."
            )
        return skeleton(JOINT_SET_OF_COUNT[num_joints])
    if len(joint_set) != num_joints:
        raise InputError(
            f"this lifter takes {num_joints} joints, but {joint_set.name} has {len(joint_set)}: "
            "pass the joint set that it was trained on."
        )
    return joint_set


def _wanted(output: Any, network: nn.Module) -> Float[Tensor, "B S J 3"]:
    """What the network is meant to predict, out of all that it says."""
    sizes = clip_sizes(network)
    centre = middle(sizes.frames)
    if isinstance(output, KeptPoses):
        return output.at(centre)[:, None]
    if sizes.predicts == "centre" and output.shape[1] > 1:
        return output[:, centre : centre + 1]
    return output


def _check(keypoints_px: Float[Tensor, "T J 2"], joints: Skeleton) -> None:
    if not len(keypoints_px):
        raise InputError("the clip has no frames with a person: give at least one.")
    if keypoints_px.shape[1] != len(joints):
        raise InputError(
            f"the keypoints have {keypoints_px.shape[1]} joints, but this lifter takes the "
            f"{len(joints)} of {joints.name}: bring them into this joint set first."
        )
    if not (wrong := ~keypoints_px.isfinite().all(-1)).any():
        return
    frame, joint = torch.nonzero(wrong)[0].tolist()
    raise InputError(
        f"{int(wrong.sum())} keypoints are not finite, the first is {joints.joints[joint]} of "
        f"frame {frame}: fill them with meshreg.geometry.gaps.fill_gaps, or leave these frames out."
    )


@contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    """Prediction mode, and the old mode afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
