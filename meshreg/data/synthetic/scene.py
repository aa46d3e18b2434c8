"""The plan of one synthetic picture: who stands where, in which pose, seen by which camera.

A plan holds plain numbers only, drawn in double precision and rounded, so that sample `index` of
`seed` is the same on every machine. What people wear and how it all looks is drawn later from
`ScenePlan.rng`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from meshreg.body.assets import BodyData
from meshreg.data.sample import Batch
from meshreg.data.synthetic.cameras import crop_K, sample_camera, turn
from meshreg.data.synthetic.outline import Outline, PosedOutline, pose_matrices
from meshreg.data.synthetic.placement import (
    Standing,
    place_neighbour,
    place_subject,
    sample_box,
)
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.data.synthetic.streams import stream

DECIMALS = 6  # micrometres, and a millionth of a radian or pixel
ROTATION_DECIMALS = 8  # as fine as single precision, so that matrices stay orthonormal


@runtime_checkable
class DrawnPose(Protocol):
    """A pose from mocap or a prior, in a y-up world; any heading."""

    @property
    def root_rotmat(self) -> np.ndarray: ...  # (3, 3)

    @property
    def body_pose(self) -> np.ndarray: ...  # (23, 3), axis-angle, radians


@runtime_checkable
class Poses(Protocol):
    """Where poses come from."""

    def sample(self, rng: np.random.Generator) -> DrawnPose:
        """Draw one pose."""
        ...


@dataclass(frozen=True, eq=False)
class PersonPlan:
    """One person in the frame of the full picture's camera."""

    betas: np.ndarray  # (S,)
    root_rotmat: np.ndarray  # (3, 3), camera frame
    body_pose: np.ndarray  # (23, 3), axis-angle, radians
    transl: np.ndarray  # (3,), metres

    @property
    def pose_rotmat(self) -> np.ndarray:  # (24, 3, 3)
        return pose_matrices(self.root_rotmat, self.body_pose)


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """Everything about one picture that is decided before it is drawn."""

    seed: int
    index: int
    size: int  # side of the square that is drawn, pixels
    people: tuple[PersonPlan, ...]  # the subject first
    K: np.ndarray  # (3, 3) of the square, pixels
    K_full: np.ndarray  # (3, 3) of the full picture, pixels
    full_size: tuple[int, int]  # height and width of the full picture, pixels
    R_cam_world: np.ndarray  # (3, 3); the world is y up: where light and floor come from
    box: np.ndarray  # (3,) centre x, centre y and side in full-picture pixels

    def rng(self, topic: str) -> np.random.Generator:
        """The random numbers of a further topic of this picture ("outfit.0", "background", ...)."""
        return stream(self.seed, self.index, topic)

    def numbers(self) -> Iterator[np.ndarray]:
        """Everything drawn, in a fixed order, for digests."""
        yield np.array([self.size, *self.full_size, len(self.people)], np.float64)
        yield from (self.K_full, self.R_cam_world, self.box, self.K)
        for person in self.people:
            yield from (person.betas, person.root_rotmat, person.body_pose, person.transl)


@runtime_checkable
class Generator(Protocol):
    """Whatever turns plans into pictures with labels."""

    def render(self, plans: Sequence[ScenePlan]) -> Batch:
        """Draw all plans as one batch, in their order."""
        ...


class Planner:
    """Makes the plan of any sample of a seed, in any order."""

    def __init__(
        self, seed: int, *, poses: Poses, body: BodyData, settings: SceneSettings | None = None
    ) -> None:
        self.seed, self.poses = seed, poses
        self.settings = settings or SceneSettings()
        self.outline = Outline(body)

    def plan(self, index: int) -> ScenePlan:
        """The plan of sample number `index`."""
        settings = self.settings
        camera = sample_camera(self._rng(index, "camera"), settings)
        person, outline = self._person(index, 0, camera.R_cam_world)
        subject = place_subject(self._rng(index, "subject"), outline, camera, settings)
        box = sample_box(self._rng(index, "box"), subject, camera, settings)
        people, placed = [_put(person, subject)], [subject]
        for number in range(1, self._head_count(index)):
            person, outline = self._person(index, number, camera.R_cam_world)
            rng = self._rng(index, f"neighbour.{number}")
            neighbour = place_neighbour(rng, outline, placed, camera, box, settings)
            if neighbour is not None:
                people.append(_put(person, neighbour))
                placed.append(neighbour)
        return ScenePlan(
            seed=self.seed,
            index=index,
            size=settings.size,
            people=tuple(people),
            K=rounded(crop_K(camera.K, box, settings.size)),
            K_full=camera.K,
            full_size=camera.size,
            R_cam_world=camera.R_cam_world,
            box=box,
        )

    def _rng(self, index: int, topic: str) -> np.random.Generator:
        return stream(self.seed, index, topic)

    def _head_count(self, index: int) -> int:
        weights = np.cumsum(self.settings.people_weights)
        draw = self._rng(index, "people").random() * weights[-1]
        return 1 + int(np.searchsorted(weights, draw, side="right"))

    def _person(
        self, index: int, number: int, R_cam_world: np.ndarray
    ) -> tuple[PersonPlan, PosedOutline]:
        """Shape, pose and heading of a person who stands nowhere yet."""
        betas = sample_betas(
            self._rng(index, f"shape.{number}"), self.outline.num_betas, self.settings
        )
        rng = self._rng(index, f"pose.{number}")
        heading = turn(1, rng.uniform(-np.pi, np.pi))
        drawn = self.poses.sample(rng)
        root = R_cam_world @ heading @ np.asarray(drawn.root_rotmat, np.float64)
        person = PersonPlan(
            betas=betas,
            root_rotmat=rounded(root, ROTATION_DECIMALS),
            body_pose=rounded(np.asarray(drawn.body_pose, np.float64)),
            transl=np.zeros(3),
        )
        return person, self.outline.pose(betas, person.pose_rotmat)


def _put(person: PersonPlan, standing: Standing) -> PersonPlan:
    return PersonPlan(person.betas, person.root_rotmat, person.body_pose, rounded(standing.transl))


def rounded(values: np.ndarray, decimals: int = DECIMALS) -> np.ndarray:
    """The values with the digits cut off in which machines may differ, and no negative zero."""
    return np.round(values, decimals) + 0.0


def sample_betas(
    rng: np.random.Generator, count: int, settings: SceneSettings
) -> np.ndarray:  # (count,)
    """Normal draws by Box and Muller (1958); some people come from a wider population."""
    radius = np.sqrt(-2 * np.log(1 - rng.random(count)))
    betas = radius * np.cos(2 * np.pi * rng.random(count))
    if rng.random() < settings.beta_tail_share:
        betas = betas * settings.beta_tail_spread
    return rounded(betas.clip(-settings.beta_limit, settings.beta_limit))


def plan_digest(numbers: Iterator[np.ndarray]) -> str:
    """Hexadecimal SHA-256 of the numbers of one sample, as little-endian doubles."""
    digest = hashlib.sha256()
    for values in numbers:
        digest.update(np.ascontiguousarray(rounded(values), "<f8").tobytes())
    return digest.hexdigest()
