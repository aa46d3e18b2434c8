"""Synthetic people as a source for training: sample number n is drawn whenever it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meshreg.data.sample import Batch
from meshreg.data.shard_workers import People
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.odd_motion import odd_motion_ignored
from meshreg.data.synthetic.scene import Planner, Poses
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.data.synthetic.whole import WholePlanner
from meshreg.errors import InputError, MissingFileError


@dataclass(frozen=True)
class PeopleRecipe:
    """What decides how people look; small, so that worker processes can be sent it."""

    seed: int
    size: int  # side of the pictures, pixels
    poses: str = "prior"  # the shipped poses, or a motion file or a folder of such
    subjects: tuple[int, ...] = ()  # of the motion; none: all but those held out
    backgrounds: Path | None = None  # photographs; None: drawn places
    device: str = "cpu"
    supersampling: int = 2  # 1 is fastest and leaves jagged edges
    batch_size: int = 1  # pictures drawn at once
    scene: tuple[tuple[str, Any], ...] = ()  # changes to `SceneSettings`, by name
    turned: bool = False  # whether cameras turn towards people before they take their pictures
    whole: bool = False  # everything that the camera sees, not a square around a person

    @property
    def settings(self) -> SceneSettings:
        """Which pictures are drawn how often.

        Raises:
            InputError: if a change cannot be meant.
        """
        return SceneSettings(size=self.size, **dict(self.scene))

    def check_files(self) -> None:
        """Make sure that what is named is there, without reading it.

        Raises:
            MissingFileError: if not.
        """
        if self.poses != "prior" and not Path(self.poses).exists():
            raise MissingFileError(
                f'no motion file or folder at {self.poses}: give a path, or "prior" for the '
                "shipped poses."
            )
        if self.backgrounds is not None and not self.backgrounds.is_dir():
            raise MissingFileError(
                f"no folder of backgrounds at {self.backgrounds}: check the path, or leave it out."
            )

    def open_files(self) -> None:
        """Read the poses and list the backgrounds, to hear now what is wrong with them.

        Raises:
            InputError: if a file is missing or unreadable.
        """
        from meshreg.data.synthetic.picture_folder import PictureFolder

        poses_of(self.poses, self.subjects)
        if self.backgrounds is not None:
            PictureFolder(self.backgrounds)

    def planner(self) -> Planner:
        """What decides every number of a sample.

        Raises:
            InputError: if the poses are missing or unreadable.
        """
        from meshreg.body.assets import load_body_data

        poses = poses_of(self.poses, self.subjects)
        kind = WholePlanner if self.whole else Planner
        return kind(self.seed, poses=poses, body=load_body_data(), settings=self.settings)

    def people(self) -> People:
        """Planner and generator; takes seconds.

        Raises:
            InputError: if a file is missing or unreadable.
        """
        from meshreg.data.synthetic.generator import make_generator
        from meshreg.data.synthetic.turned import TurnedGenerator

        dressed = make_generator(
            device=self.device, backgrounds=self.backgrounds, supersampling=self.supersampling
        )
        generator = TurnedGenerator(dressed, dressed.body) if self.turned else dressed
        return SyntheticPeople(self.planner(), generator, batch_size=self.batch_size)


def poses_of(poses: str, subjects: tuple[int, ...] = ()) -> Poses:
    """The shipped poses, or those of these subjects of a motion file or folder.

    Without subjects, all are used but those held out for evaluation.

    Raises:
        InputError: if there is no such file, or it holds no such motion.
    """
    from meshreg.data.motion_files import read_motion
    from meshreg.data.synthetic.benchmark import HELD_OUT
    from meshreg.data.synthetic.poses import MotionPoses
    from meshreg.data.synthetic.prior_poses import PriorPoses

    if poses == "prior":
        return PriorPoses()
    motion = read_motion(poses)
    if subjects:
        return MotionPoses(motion, subjects=subjects)
    # Where subjects are known, an unknown one (0) may be one of those held out.
    unknown = (0,) if any(motion.subject) else ()
    return MotionPoses(motion, excluded=(*HELD_OUT, *unknown))


class RenderedPeople:
    """People drawn on demand by a recipe; without an end, or the first `count` of them.

    Each process makes a generator of its own when it needs one.
    """

    def __init__(self, recipe: PeopleRecipe, *, count: int | None = None) -> None:
        """Check what can be checked without making a generator.

        Raises:
            InputError: if the count is below one, or a file is missing.
        """
        if count is not None and count < 1:
            raise InputError(f"the count of people must be at least 1, not {count}.")
        recipe.check_files()
        self.recipe, self.count = recipe, count
        self._people: People | None = None

    def take(self, indices: Sequence[int]) -> Batch:
        """Draw these samples; vertices, which betas and pose tell as well, are left out."""
        if self._people is None:
            with odd_motion_ignored():  # each process reads it again; once is enough to hear of it
                self._people = self.recipe.people()
        batch = self._people.render(list(indices)).to("cpu")
        return replace(batch, vertices_cam=batch.vertices_cam[:, :0])

    def __getstate__(self) -> dict[str, object]:
        """Generators stay in their process."""
        return self.__dict__ | {"_people": None}
