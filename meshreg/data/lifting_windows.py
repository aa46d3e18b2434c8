"""Windows of clips for training, each plain and mirrored, in a new order every time round."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from meshreg.data.chance import chance
from meshreg.data.lifting import LiftingBatch, LiftingData, from_root, root_of
from meshreg.errors import InputError
from meshreg.geometry.mirror import mirror
from meshreg.geometry.screen import to_screen
from meshreg.geometry.windows import Policy, window_starts, windows_from


@dataclass(frozen=True, eq=False)
class ClipWindows:
    """All windows of a data set; batch `number` is the same whenever it is asked for."""

    data: LiftingData
    frames: int
    policy: Policy
    batch_size: int  # of each process
    stride: int | None = None
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    _starts: list[Tensor] = field(init=False)  # of the windows of each clip
    _ends: Int[Tensor, " C"] = field(init=False)  # number of windows up to and with each clip
    _orders: dict[int, Tensor] = field(default_factory=dict, init=False)  # of the latest epoch

    def __post_init__(self) -> None:
        if not self.data.clips:
            raise InputError(f"{self.data.source} has no clips to train on: choose other subjects.")
        starts = [
            window_starts(len(clip), self.frames, policy=self.policy, stride=self.stride)
            for clip in self.data.clips
        ]
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "_ends", torch.tensor([len(s) for s in starts]).cumsum(0))

    def __len__(self) -> int:
        """How many windows there are, mirrored ones too."""
        return 2 * int(self._ends[-1])

    def at(self, number: int) -> LiftingBatch:
        """Batch number 0, 1, ...; after the last window the first come again, shuffled anew."""
        first = (number * self.world_size + self.rank) * self.batch_size
        parts = [self._window(self._item(first + place)) for place in range(self.batch_size)]
        return LiftingBatch(
            x=torch.stack([part.x for part in parts]),
            poses=torch.stack([part.poses for part in parts]),
            root=torch.stack([part.root for part in parts]),
            known=torch.stack([part.known for part in parts]),
            index=torch.stack([part.index for part in parts]),
        )

    def _item(self, place: int) -> int:
        """The window, mirrored or not, that comes at this place of all epochs."""
        epoch, row = divmod(place, len(self))
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = torch.randperm(len(self), generator=chance(self.seed, epoch))
        return int(self._orders[epoch][row])

    def _window(self, item: int) -> LiftingBatch:
        """One window, without the axis of the batch."""
        window, is_mirrored = divmod(item, 2)
        number = int(torch.searchsorted(self._ends, window, right=True))
        clip, joints = self.data.clips[number], self.data.joints
        row = window - (int(self._ends[number]) - len(self._starts[number]))
        start = self._starts[number][row : row + 1]
        frames = windows_from(start, len(clip), self.frames).frames[0]
        x = to_screen(clip.keypoints_px[frames], clip.size)
        cam = clip.joints_cam[frames]
        if is_mirrored:
            x, cam = mirror(x, joints.flip), mirror(cam, joints.flip)
        known = torch.ones(len(frames)) if clip.scored is None else clip.scored[frames].float()
        return LiftingBatch(
            x=x,
            poses=from_root(cam, joints),
            root=cam[:, root_of(joints)],
            known=known,
            index=torch.tensor(number),
        )
