"""The camera that the user described, else the file's, else a guess; for commands on pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.options import FitOptions, PredictOptions
from meshreg.errors import InputError

if TYPE_CHECKING:
    from meshreg.geometry.cameras import Camera


CameraOptions = FitOptions | PredictOptions  # those with camera, focal, fov, fov_axis and exif
PREDICT = Path("predict")  # as --camera: let a network read it from the picture


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
    if options.camera is not None and _is_network(options.camera):
        return _predicted(options.camera, picture)
    if options.camera is not None:
        return read_camera(options.camera, size)
    if options.focal is not None:
        return camera_from_focal(options.focal, size)
    if options.fov is not None:
        return camera_from_fov(options.fov, size, axis=options.fov_axis)
    return picture_camera(picture, size) if options.exif else guess_camera(size)


def _is_network(camera: Path) -> bool:
    """Whether --camera names a network that reads pictures, not the camera itself."""
    return (camera == PREDICT and not camera.exists()) or camera.suffix == ".safetensors"


def _predicted(camera: Path, picture: Path) -> "Camera":
    from meshreg.data.images import read_image
    from meshreg.predictor.field_of_view import fov_network, predicted_camera

    network = fov_network(None if camera == PREDICT else camera)
    return predicted_camera(read_image(picture), network)


def camera_line(camera: "Camera") -> str:
    """Which camera was used and where it came from, for the user."""
    focal = ", ".join(f"{float(camera.K[i, i]):.0f}" for i in (0, 1))
    return f"camera: focal length {focal} px; {camera.source}"
