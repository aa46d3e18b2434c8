"""How far pictures are changed in training; imports nothing heavy, for the command line's sake."""

from dataclasses import dataclass

from meshreg.errors import InputError


@dataclass(frozen=True)
class AugmentSettings:
    """How far pictures are changed in training, each by chance anew; all zeros change nothing.

    Args:
        mirror: Share of mirrored samples.
        zoom: The box is up to this share larger or smaller.
        shift: The box moves by up to this share of its side.
        brightness: Largest change of the brightness, as a share.
        contrast: Largest change of the contrast, as a share.
        saturation: Largest change of the saturation, as a share.
        tint: Largest change of each colour channel, as a share.
        noise: Largest standard deviation of noise, of 255.
        erase: Share of samples in which a rectangle hides part of the picture.
        erase_size: Largest side of the rectangle, as a share of the picture's.
    """

    mirror: float = 0.5
    zoom: float = 0.15
    shift: float = 0.08
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.3
    tint: float = 0.1
    noise: float = 8.0
    erase: float = 0.3
    erase_size: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what is no share.

        Raises:
            InputError: naming the setting.
        """
        for name, value in vars(self).items():
            most = 128.0 if name == "noise" else 1.0
            if name in ("zoom", "shift"):
                most = 0.5
            if not 0 <= value <= most:
                raise InputError(f"augment.{name} must be 0 to {most:g}, not {value}.")
