"""The two synthetic people of the demo: shape, pose, camera, clothes and room, all as numbers."""

from dataclasses import dataclass

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Outfit:
    """Garments as heights on the body at rest (metres, y up from the pelvis), and colours."""

    waist: float  # upper end of the trousers
    leg: float  # lower end of the trousers
    top: float | None  # lower end of the tank top; None: bare chest
    hairline: float  # higher: less hair
    skin: Color
    hair: Color
    trousers: Color
    shirt: Color = (0, 0, 0)


@dataclass(frozen=True)
class Person:
    """One picture: who stands how in front of which camera."""

    betas: tuple[float, ...]
    pose_deg: dict[str, tuple[float, float, float]]  # turns about the joint's x, then y, then z
    heading_deg: float  # 0 faces the camera, 90 faces the picture's right
    pelvis: tuple[float, float, float]  # metres, camera axes
    pitch_deg: float  # of the camera; positive looks down
    fov_deg: float  # across the picture's width
    outfit: Outfit
    wall: Color
    floor: Color


WALKER = Person(
    betas=(-0.9, -0.8, 1.1, 0.4, -0.5, 0.3, -0.2, 0.5, 0.1, -0.3),
    pose_deg={
        "left_hip": (-27, 0, 2),
        "left_knee": (8, 0, 0),
        "left_ankle": (8, 0, 0),
        "right_hip": (16, 0, -2),
        "right_knee": (30, 0, 0),
        "right_ankle": (12, 0, 0),
        "right_foot": (-26, 0, 0),
        "spine1": (3, 4, 0),
        "spine2": (2, 5, 0),
        "spine3": (-2, 5, 0),
        "neck": (4, -6, 0),
        "head": (0, -10, 2),
        "left_collar": (0, 0, -4),
        "right_collar": (0, 0, 4),
        "left_shoulder": (22, 8, -68),
        "left_elbow": (0, -22, 0),
        "right_shoulder": (-26, -6, 70),
        "right_elbow": (0, 42, 0),
        "left_wrist": (0, 0, -6),
        "right_wrist": (0, 0, 6),
    },
    heading_deg=-38,
    pelvis=(0.02, -0.04, 2.02),
    pitch_deg=6,
    fov_deg=45.0,
    outfit=Outfit(
        waist=0.07,
        leg=-0.26,
        top=-0.01,
        hairline=-0.42,
        skin=(226, 178, 150),
        hair=(92, 58, 36),
        trousers=(52, 66, 92),
        shirt=(196, 92, 74),
    ),
    wall=(206, 208, 200),
    floor=(176, 152, 124),
)

REACHER = Person(
    betas=(1.4, 1.3, -0.9, -0.4, 0.6, -0.2, 0.5, -0.4, 0.3, 0.2),
    pose_deg={
        "left_hip": (-32, 0, 6),
        "left_knee": (28, 0, 0),
        "left_ankle": (4, 0, 0),
        "right_hip": (-14, 0, -6),
        "right_knee": (28, 0, 0),
        "right_ankle": (-14, 0, 0),
        "spine1": (8, -4, 3),
        "spine2": (4, -6, 3),
        "spine3": (0, -6, 3),
        "neck": (-6, 8, 0),
        "head": (-10, 10, -2),
        "left_collar": (0, 0, -2),
        "right_collar": (0, 6, -16),
        "left_shoulder": (-12, 10, -56),
        "left_elbow": (0, -50, 0),
        "right_shoulder": (-26, 6, -44),
        "right_elbow": (0, 26, 0),
        "right_wrist": (0, 8, 4),
    },
    heading_deg=140,
    pelvis=(-0.1, 0.21, 1.85),
    pitch_deg=4,
    fov_deg=65.0,
    outfit=Outfit(
        waist=0.03,
        leg=-0.2,
        top=None,
        hairline=-0.05,
        skin=(138, 92, 66),
        hair=(28, 24, 24),
        trousers=(28, 124, 138),
    ),
    wall=(190, 202, 212),
    floor=(150, 146, 142),
)

PEOPLE = {"synthetic_1": WALKER, "synthetic_2": REACHER}
