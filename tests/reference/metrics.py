"""Error measures in plain numpy and scipy, one pose at a time, as their papers define them."""

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation


def mpjpe(pred: np.ndarray, target: np.ndarray) -> float:
    return float(
        np.mean([np.sqrt(((p - t) ** 2).sum()) for p, t in zip(pred, target, strict=True)])
    )


def root_aligned(pred: np.ndarray, target: np.ndarray, roots: list[int]) -> float:
    def seen(pose: np.ndarray) -> np.ndarray:
        return pose - sum(pose[root] for root in roots) / len(roots)

    return mpjpe(seen(pred), seen(target))


def pa_mpjpe(pred: np.ndarray, target: np.ndarray) -> float:
    """The rotation by scipy's solver for vectors, the scale by least squares afterwards."""
    p, t = pred - pred.mean(0), target - target.mean(0)
    turned = Rotation.align_vectors(t, p)[0].apply(p)
    scale = np.linalg.lstsq(turned.reshape(-1, 1), t.reshape(-1), rcond=None)[0][0]
    return mpjpe(scale * turned, t)


def pa_mpjpe_with_mirrors(pred: np.ndarray, target: np.ndarray) -> float:
    """What it would be if reflections were allowed, which they are not."""
    p, t = pred - pred.mean(0), target - target.mean(0)
    matrix, total = orthogonal_procrustes(p, t)
    return mpjpe(total / (p**2).sum() * p @ matrix, t)


def n_mpjpe(pred: np.ndarray, target: np.ndarray) -> float:
    scale = np.linalg.lstsq(pred.reshape(-1, 1), target.reshape(-1), rcond=None)[0][0]
    return mpjpe(scale * pred, target)


def pck(pred: np.ndarray, target: np.ndarray, distance: float) -> float:
    found = [np.linalg.norm(p - t) < distance for p, t in zip(pred, target, strict=True)]
    return sum(found) / len(found)


def auc(pred: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean([pck(pred, target, mm / 1000) for mm in range(0, 151, 5)]))


def velocity_error(pred: np.ndarray, target: np.ndarray) -> float:
    steps = [mpjpe(pred[t + 1] - pred[t], target[t + 1] - target[t]) for t in range(len(pred) - 1)]
    return float(np.mean(steps))


def acceleration_error(pred: np.ndarray, target: np.ndarray) -> float:
    def acceleration(poses: np.ndarray, t: int) -> np.ndarray:
        return poses[t - 1] - 2 * poses[t] + poses[t + 1]

    frames = range(1, len(pred) - 1)
    return float(np.mean([mpjpe(acceleration(pred, t), acceleration(target, t)) for t in frames]))


def class_iou(pred: np.ndarray, target: np.ndarray, label: int, known: np.ndarray) -> float:
    one = {tuple(place) for place in np.argwhere((pred == label) & known)}
    other = {tuple(place) for place in np.argwhere((target == label) & known)}
    return len(one & other) / len(one | other) if one | other else float("nan")
