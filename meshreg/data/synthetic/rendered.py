"""Synthetic people as a source for training: sample number n is drawn whenever it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meshreg.data.sample import Batch
from meshreg.data.shard_workers import People
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.scene import Planner, Poses
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.errors import InputError, MissingFileError


@dataclass(frozen=True)
class PeopleRecipe:
    """What decides how people look; small, so that worker processes can be sent it."""

    seed: int
    size: int  # side of the pictures, pixels
    poses: str = "prior"  # the shipped poses, or a motion file
    backgrounds: Path | None = None  # photographs; None: drawn places
    device: str = "cpu"
    supersampling: int = 2  # 1 is fastest and leaves jagged edges

    def people(self) -> People:
        """Planner and generator; takes seconds.

        Raises:
            InputError: if a file is missing or unreadable.
        """
        from meshreg.body.assets import load_body_data
        from meshreg.data.synthetic.generator import make_generator

        settings = SceneSettings(size=self.size)
        poses = training_poses(self.poses)
        planner = Planner(self.seed, poses=poses, body=load_body_data(), settings=settings)
        generator = make_generator(
            device=self.device, backgrounds=self.backgrounds, supersampling=self.supersampling
        )
        return SyntheticPeople(planner, generator, batch_size=1)


def training_poses(poses: str) -> Poses:
    """The shipped poses, or those of a motion file without the subjects held out for evaluation.

    Raises:
        MissingFileError: if there is no such file.
    """
    from meshreg.data.motion import load_motion
    from meshreg.data.synthetic.benchmark import HELD_OUT
    from meshreg.data.synthetic.poses import MotionPoses
    from meshreg.data.synthetic.prior_poses import PriorPoses

    if poses == "prior":
        return PriorPoses()
    if not Path(poses).is_file():
        raise MissingFileError(
            f'no motion file at {poses}: give a path, or "prior" for the shipped poses.'
        )
    motion = load_motion(poses)
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
        if recipe.backgrounds is not None and not recipe.backgrounds.is_dir():
            raise MissingFileError(
                f"no folder of backgrounds at {recipe.backgrounds}: check the path, or leave it "
                "out."
            )
        self.recipe, self.count = recipe, count
        self._people: People | None = None

    def take(self, indices: Sequence[int]) -> Batch:
        """Draw these samples; vertices, which betas and pose tell as well, are left out."""
        if self._people is None:
            self._people = self.recipe.people()
        batch = self._people.render(list(indices)).to("cpu")
        return replace(batch, vertices_cam=batch.vertices_cam[:, :0])

    def __getstate__(self) -> dict[str, object]:
        """Generators stay in their process."""
        return self.__dict__ | {"_people": None}
