"""Which pictures are drawn and how often: the ranges that scenes are sampled from."""

from dataclasses import dataclass, fields

from meshreg.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneSettings:
    """Ranges and shares of what a picture shows; the defaults aim at everyday photographs."""

    size: int = 224  # side of the square picture of the subject, pixels
    # --- the camera that took the full picture ---
    fov_deg: Range = (20.0, 100.0)  # across the longer side
    usual_fov_deg: Range = (40.0, 75.0)  # phones and everyday lenses
    usual_fov_share: float = 0.55
    long_side_px: Range = (480.0, 2400.0)
    aspects: tuple[float, ...] = (1.0, 4 / 3, 4 / 3, 3 / 2, 16 / 9)  # longer over shorter side
    portrait_share: float = 0.45
    cropped_share: float = 0.2  # pictures cut out of larger ones: principal point off the middle
    principal_shift: float = 0.12  # how far off at most, in sides
    pitch_deg: Range = (-35.0, 60.0)  # positive looks down
    usual_pitch_deg: Range = (-8.0, 20.0)
    usual_pitch_share: float = 0.75
    roll_deg: float = 20.0  # at most, either way
    usual_roll_deg: float = 4.0
    usual_roll_share: float = 0.85
    # --- who stands where ---
    apparent_height: Range = (0.18, 2.5)  # of 1.7 m at the subject's distance, in picture heights
    close_up_from: float = 0.95  # from this apparent height on, only a part is aimed at
    legs_share: float = 0.12  # of the close-ups: aimed at the lower body
    central_share: float = 0.35  # subjects near the middle; the others lie anywhere
    nearest_m: float = 0.35  # nobody comes closer to the camera plane
    people_weights: tuple[float, ...] = (0.6, 0.22, 0.12, 0.06)  # one person, two, ...
    widest_gap_m: float = 2.5  # between neighbours, at most
    hidden_limit: float = 0.6  # most of the subject that others may stand in front of
    beta_limit: float = 3.0
    beta_tail_share: float = 0.12  # of people whose betas spread wider than the population's
    beta_tail_spread: float = 1.6
    # --- the box around the subject ---
    box_scale: Range = (0.95, 1.4)  # of the tight square box
    box_shift: float = 0.12  # of its side, at most, either way
    inside_share: float = 0.75  # boxes that were moved and shrunk so as to stay in the picture
    most_shrunk: float = 0.8  # factor by which that may shrink them, at most
    truncated_share: float = 0.2  # boxes that leave out the legs, or all but head and shoulders

    def __post_init__(self) -> None:
        """Refuse ranges upside down and shares that are none.

        Raises:
            InputError: naming the setting.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is Range and not value[0] <= value[1]:
                _refuse(field.name, "a range from low to high", value)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                _refuse(field.name, "a share between 0 and 1", value)
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            ends = value if isinstance(value, tuple) else (value,)
            if not ends or min(ends) < low or max(ends) > high:
                kind = "numbers" if isinstance(value, tuple) else "a number"
                _refuse(name, f"{kind} between {low:g} and {high:g}", value)
        if sum(self.people_weights) <= 0:
            _refuse("people_weights", "weights of which one is above zero", self.people_weights)


# Setting, lowest and highest sensible number.
_LIMITS = (
    ("size", 32, 2048),
    ("fov_deg", 5, 150),
    ("usual_fov_deg", 5, 150),
    ("long_side_px", 64, 20_000),
    ("aspects", 1, 4),
    ("principal_shift", 0, 0.4),
    ("pitch_deg", -80, 80),
    ("usual_pitch_deg", -80, 80),
    ("roll_deg", 0, 180),
    ("usual_roll_deg", 0, 180),
    ("apparent_height", 0.02, 10),
    ("close_up_from", 0.1, 10),
    ("nearest_m", 0.05, 10),
    ("people_weights", 0, 1e6),
    ("widest_gap_m", 0, 100),
    ("hidden_limit", 0, 1),
    ("beta_limit", 0, 10),
    ("beta_tail_spread", 0.1, 5),
    ("box_scale", 0.3, 4),
    ("box_shift", 0, 0.5),
    ("most_shrunk", 0.1, 1),
)


def _refuse(name: str, expected: str, value: object) -> None:
    raise InputError(f"{name} of the scene settings must be {expected}, not {value}.")
