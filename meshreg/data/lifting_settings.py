"""Numbers of the clips that lifters learn from; imports nothing heavy, for the command line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CameraSettings:
    """From where people are seen; each number is drawn evenly between two.

    Args:
        distance: Metres from the middle of the person's path, along the floor.
        height: Metres above the lowest point of the path.
        focal: In picture widths; less where the person would not fit into the picture.
        aim: Radians by which the camera may look past the person, up to this.
        roll: Radians by which the camera may be tilted sideways, up to this.
        level: Cameras look along the floor rather than at the person, and past it only sideways.
    """

    distance: tuple[float, float] = (2.5, 7.0)
    height: tuple[float, float] = (0.4, 2.6)
    focal: tuple[float, float] = (0.8, 1.8)
    aim: float = 0.12
    roll: float = 0.06
    level: bool = False


@dataclass(frozen=True)
class NoiseSettings:
    """How wrong a detector is; lengths are in sizes of the person in the picture.

    Args:
        clean: Share of clips without any error.
        tremble: Standard deviation of the errors of average joints; each clip draws its own share
            of it, from half to one and a half.
        memory: How much of an error stays to the next frame, 0 to 1.
        outliers: How often a joint is found in a wrong place.
        outlier_size: Standard deviation of how far from the right one.
        missed: How often a joint is not found.
        run: Mean number of frames for which the last two go on.
    """

    clean: float = 0.3
    tremble: float = 0.008
    memory: float = 0.7
    outliers: float = 0.01
    outlier_size: float = 0.08
    missed: float = 0.02
    run: float = 4.0


CLEAN = NoiseSettings(clean=1.0)
TYPICAL = NoiseSettings(clean=0.0)
