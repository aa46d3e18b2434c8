"""The cameras of synthetic pictures, and the camera of a square cut out of one."""

from dataclasses import dataclass

import numpy as np

from meshreg.data.synthetic.settings import Range, SceneSettings

UPRIGHT = np.diag([1.0, -1.0, -1.0])  # a y-up world seen by a level camera; +z faces the camera


@dataclass(frozen=True, eq=False)
class PictureCamera:
    """The camera of a full picture, before anything is cut out of it."""

    K: np.ndarray  # (3, 3), pixels
    size: tuple[int, int]  # height and width, pixels
    R_cam_world: np.ndarray  # (3, 3); the world is y up

    @property
    def focal(self) -> float:
        return float(self.K[0, 0])


def sample_camera(rng: np.random.Generator, settings: SceneSettings) -> PictureCamera:
    """Draw lens, format and attitude of a camera."""
    size = _picture_size(rng, settings)
    focal = _focal(rng, settings) * max(size)
    shift = rng.uniform(-1, 1, 2) * settings.principal_shift
    if rng.random() >= settings.cropped_share:
        shift = np.zeros(2)
    x, y = (size[1] - 1) / 2 + shift[0] * size[1], (size[0] - 1) / 2 + shift[1] * size[0]
    K = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    pitch = _usual_or_any(
        rng, settings.usual_pitch_share, settings.usual_pitch_deg, settings.pitch_deg
    )
    usual_roll, roll = settings.usual_roll_deg, settings.roll_deg
    roll = _usual_or_any(rng, settings.usual_roll_share, (-usual_roll, usual_roll), (-roll, roll))
    R = turn(2, np.radians(roll)) @ turn(0, np.radians(pitch)) @ UPRIGHT
    return PictureCamera(K=np.round(K, 6), size=size, R_cam_world=np.round(R, 8))


def _picture_size(rng: np.random.Generator, settings: SceneSettings) -> tuple[int, int]:
    """Height and width in pixels; long sides are spread evenly over their orders of magnitude."""
    low, high = np.log(settings.long_side_px)
    long = round(float(np.exp(rng.uniform(low, high))))
    short = round(long / settings.aspects[rng.integers(len(settings.aspects))])
    return (long, short) if rng.random() < settings.portrait_share else (short, long)


def _focal(rng: np.random.Generator, settings: SceneSettings) -> float:
    """A focal length in longer sides, log-uniform like the steps of a zoom."""
    usual = rng.random() < settings.usual_fov_share
    fov = settings.usual_fov_deg if usual else settings.fov_deg
    low, high = np.log(0.5 / np.tan(np.radians(fov[::-1]) / 2))
    return float(np.exp(rng.uniform(low, high)))


def _usual_or_any(rng: np.random.Generator, share: float, usual: Range, whole: Range) -> float:
    return float(rng.uniform(*(usual if rng.random() < share else whole)))


def turn(axis: int, angle: float) -> np.ndarray:  # (3, 3)
    """The right-handed rotation by `angle` (radians) about coordinate axis 0, 1 or 2."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[i, i], R[i, j], R[j, i], R[j, j] = c, -s, s, c
    return R


def rotvec_to_rotmat(rotvec: np.ndarray) -> np.ndarray:  # (N, 3) -> (N, 3, 3)
    """Rodrigues' formula in double precision, for plans that must be the same anywhere."""
    angle = np.sqrt((rotvec**2).sum(-1))
    axis = rotvec / np.maximum(angle, 1e-12)[:, None]
    x, y, z = axis.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sin * cross + (1 - cos) * (cross @ cross)


def project(points_cam: np.ndarray, K: np.ndarray) -> np.ndarray:  # (N, 3) -> (N, 2)
    """Pixels of points in front of a camera without skew."""
    return points_cam[:, :2] / points_cam[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]


def crop_K(K: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:  # (3, 3)
    """K of the square `box` (centre x, centre y, side) resized to `size` pixels.

    The box spans centre - side/2 to centre + side/2 where pixel centres are integers: the same as
    `crop_intrinsics` to its first pixel followed by `resize_intrinsics`.
    """
    x, y, side = box
    scale = size / side
    window = K.copy()
    window[0, 2] -= x - side / 2 + 0.5
    window[1, 2] -= y - side / 2 + 0.5
    resize = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    return resize @ window
