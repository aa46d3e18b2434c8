"""What lifters have in common that work in stages, so that frames may be left out between two."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from meshreg.errors import InputError


class StagedLifter(nn.Module, ABC):
    """A lifter of clips: embed, some layers, finish, regress.

    Tokens are (B, T, N, D): every frame has N of them, one for each joint or for each hypothesis.
    Only `embed` may rely on the number of frames; all after it must accept a selection of frames.
    """

    predicts = "sequence"  # or "centre", where only the middle frame's pose is meant

    def __init__(self, *, frames: int, num_joints: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.frames, self.num_joints, self.in_channels = frames, num_joints, in_channels
        self.width = width  # of a token

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J 3"]:
        """The poses of all frames, metres from the root joint.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        self.check(x)
        tokens = self.run(self.embed(x), 0, self.num_layers)
        return self.regress(self.finish(tokens))

    def check(self, x: Tensor) -> None:
        """Refuse clips that the network was not built for.

        Raises:
            InputError: if there are other frames, joints or channels.
        """
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)

    def run(
        self, tokens: Float[Tensor, "B T N D"], start: int, stop: int
    ) -> Float[Tensor, "B T N D"]:
        """The tokens after the layers from `start` to before `stop`."""
        for index in range(start, stop):
            tokens = self.layer(index, tokens)
        return tokens

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """How many layers there are, between which frames may be left out."""

    @abstractmethod
    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T N D"]:
        """Tokens that know which frame and joint they stand for."""

    @abstractmethod
    def layer(self, index: int, tokens: Float[Tensor, "B T N D"]) -> Float[Tensor, "B T N D"]:
        """The tokens after one more layer."""

    def finish(self, tokens: Float[Tensor, "B T N D"]) -> Float[Tensor, "B T N D"]:
        """The tokens after the last norm, for networks that have one before recovery of frames."""
        return tokens

    @abstractmethod
    def regress(self, tokens: Float[Tensor, "B T N D"]) -> Float[Tensor, "B T J 3"]:
        """Poses read off the tokens."""

    def describe(self, tokens: Float[Tensor, "B T N D"]) -> Float[Tensor, "B T K"]:
        """One vector for each frame, by which frames are compared."""
        return tokens.mean(2)


def check_clip(x: Tensor, *, frames: int, num_joints: int, in_channels: int) -> None:
    """Refuse a clip that is not (B, frames, num_joints, in_channels).

    Raises:
        InputError: that says which axis is wrong and what to do.
    """
    if x.ndim != 4:
        raise InputError(
            f"a lifter takes clips of shape (batch, frames, joints, channels), not "
            f"{tuple(x.shape)}: add the missing axes, also for a single clip."
        )
    _, found_frames, found_joints, found_channels = x.shape
    if found_joints != num_joints:
        raise InputError(
            f"this lifter takes {num_joints} joints, not {found_joints}: bring the joints into "
            f"its order, or build a lifter for {found_joints} joints."
        )
    if found_channels != in_channels:
        what = {2: "x and y", 3: "x, y and the detector's confidence"}.get(in_channels, "numbers")
        raise InputError(
            f"this lifter takes {in_channels} numbers for each joint ({what}), not "
            f"{found_channels}: give it such joints."
        )
    if found_frames != frames:
        raise InputError(
            f"this lifter takes clips of {frames} frames, not {found_frames}: cut the video into "
            f"windows of {frames} frames and repeat the last frame of a short one."
        )
