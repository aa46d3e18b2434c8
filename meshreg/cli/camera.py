"""The camera that the user described, else the file's, else a guess; for commands on pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.options import FitOptions, PredictOptions
from meshreg.errors import InputError

if TYPE_CHECKING:
    from meshreg.geometry.cameras import Camera


CameraOptions = FitOptions | PredictOptions  # those with camera, focal, fov, fov_axis and exif


def check_camera_options(options: CameraOptions) -> None:
    """Refuse two descriptions of one camera.

    Raises:
        InputError: if there is more than one.
    """
    ways = {"camera": options.camera, "focal": options.focal, "fov": options.fov}
    given = [f"--{name}" for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other: give only one of them.")


def chosen_camera(options: CameraOptions, size: tuple[int, int], picture: Path) -> "Camera":
    """The camera of a picture whose size (height, width) is that after turning it upright.

    Raises:
        InputError: if it was described twice, or not sensibly.
    """
    from meshreg.data.camera_files import read_camera
    from meshreg.data.exif import picture_camera
    from meshreg.geometry.cameras import camera_from_focal, camera_from_fov, guess_camera

    check_camera_options(options)
    if options.camera is not None:
        return read_camera(options.camera, size)
    if options.focal is not None:
        return camera_from_focal(options.focal, size)
    if options.fov is not None:
        return camera_from_fov(options.fov, size, axis=options.fov_axis)
    return picture_camera(picture, size) if options.exif else guess_camera(size)


def camera_line(camera: "Camera") -> str:
    """Which camera was used and where it came from, for the user."""
    focal = ", ".join(f"{float(camera.K[i, i]):.0f}" for i in (0, 1))
    return f"camera: focal length {focal} px; {camera.source}"
