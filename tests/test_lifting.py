"""Whole clips through lifters: windows, mirror images, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.geometry.gaps import fill_gaps, longest_gap
from meshreg.geometry.mirror import mirror
from meshreg.geometry.screen import from_screen, to_screen
from meshreg.geometry.windows import merged, windows
from meshreg.lifters.convformer import convformer
from meshreg.lifters.hot import hot_mixste, tpc_mixste
from meshreg.lifters.lifting import clip_sizes, lift
from meshreg.lifters.mixste import mixste

SIZE = (480, 640)
SMALL = {"frames": 9, "width": 16, "hidden": 32, "depth": 2, "num_heads": 2}
H36M = skeleton("h36m17")


class Echo(nn.Module):
    """Says of every frame where its joints are in the picture, one metre away."""

    def __init__(self, frames: int, predicts: str) -> None:
        super().__init__()
        self.frames, self.num_joints, self.in_channels = frames, 17, 2
        self.predicts = predicts
        self.dummy = nn.Parameter(torch.zeros(1))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        poses = torch.cat([x, torch.ones_like(x[..., :1])], -1)
        return poses if self.predicts == "sequence" else poses[:, [(self.frames - 1) // 2]]


def clip(length: int) -> Tensor:
    return 300 + 100 * torch.rand(length, 17, 2)


@pytest.mark.parametrize("predicts", ["sequence", "centre"])
@pytest.mark.parametrize("length", [1, 4, 9, 10, 31])
@pytest.mark.parametrize("stride", [None, 4])
def test_every_frame_gets_its_own_pose(predicts: str, length: int, stride: int | None) -> None:
    keypoints = clip(length)
    poses = lift(Echo(9, predicts), keypoints, SIZE, stride=stride, batch_size=3)
    expected = to_screen(keypoints, SIZE)
    torch.testing.assert_close(poses[..., :2], expected - expected[:, :1])
    assert poses[:, 0].abs().max() == 0


def test_short_clips_are_filled_up_with_their_last_frame() -> None:
    network, keypoints = Echo(9, "sequence"), clip(4)
    lift(network, keypoints, SIZE, flip=False)
    (seen,) = network.seen
    torch.testing.assert_close(seen[0, :4], to_screen(keypoints, SIZE))
    torch.testing.assert_close(seen[0, 4:], seen[0, 3].expand(5, 17, 2))


@pytest.mark.parametrize(
    ("frames", "predicts", "at_once"),
    [(243, "sequence", 1), (120, "sequence", 4), (243, "centre", 9)],
)
def test_a_processor_is_given_no_more_than_fits_its_caches(
    frames: int, predicts: str, at_once: int
) -> None:
    network = Echo(frames, predicts)
    poses = lift(network, clip(1200), SIZE, flip=False, batch_size=9)
    assert max(len(seen) for seen in network.seen) == at_once
    assert not poses.is_inference(), "nothing can be fitted to such poses"


@pytest.mark.parametrize("build", [mixste, hot_mixste, tpc_mixste, convformer])
def test_flip_averaging_treats_both_sides_alike(build) -> None:  # type: ignore[no-untyped-def]
    if build is convformer:
        network: nn.Module = convformer(frames=9, width=8, depths=(1, 1), kernels=(3,), num_heads=2)
    else:
        pruning = {} if build is mixste else {"keep": 3, "after": 1}
        network = build(**SMALL, **pruning)
    keypoints = clip(12)
    centred = keypoints - keypoints.new_tensor([SIZE[1] / 2, 0])
    turned = mirror(centred, H36M.flip) + keypoints.new_tensor([SIZE[1] / 2, 0])
    poses = lift(network, keypoints, SIZE)
    if build is not tpc_mixste:  # which frames it keeps is decided by the plain clip
        torch.testing.assert_close(mirror(poses, H36M.flip), lift(network, turned, SIZE))
    assert (poses - lift(network, keypoints, SIZE, flip=False)).abs().max() > 1e-4
    assert poses.shape == (12, 17, 3) and network.training


def test_sizes_are_told() -> None:
    assert clip_sizes(tpc_mixste(**SMALL, keep=3, after=1)).predicts == "centre"
    assert clip_sizes(hot_mixste(**SMALL, keep=3, after=1)).predicts == "sequence"
    assert clip_sizes(mixste(**SMALL)).frames == 9


def test_bad_clips_are_refused() -> None:
    network = Echo(9, "sequence")
    with pytest.raises(InputError, match="no frames"):
        lift(network, torch.zeros(0, 17, 2), SIZE)
    with pytest.raises(InputError, match="25 joints"):
        lift(network, torch.zeros(3, 25, 2), SIZE)
    broken = clip(5)
    broken[3, 2, 1] = torch.nan
    with pytest.raises(InputError, match="right_knee of frame 3"):
        lift(network, broken, SIZE)
    with pytest.raises(InputError, match="height and width"):
        lift(network, clip(5), (0, 640))
    with pytest.raises(InputError, match="humaneva15 has 15"):
        lift(network, clip(5), SIZE, joint_set=skeleton("humaneva15"))


def test_screen_coordinates_and_back() -> None:
    corners = torch.tensor([[0.0, 0.0], [640.0, 480.0], [320.0, 240.0]])
    expected = torch.tensor([[-1.0, -0.75], [1.0, 0.75], [0.0, 0.0]])
    torch.testing.assert_close(to_screen(corners, SIZE), expected)
    torch.testing.assert_close(from_screen(expected, SIZE), corners)


def test_windows_of_each_policy() -> None:
    def starts(length: int, policy: str, stride: int | None = None) -> list[int]:
        where = windows(length, 27, policy=policy, stride=stride)  # type: ignore[arg-type]
        first_inside = where.inside.long().argmax(1)
        return (where.frames[torch.arange(len(where)), first_inside] - first_inside).tolist()

    assert starts(100, "spread") == [-4, 23, 50, 77]
    assert starts(5, "spread") == [-11]
    assert starts(28, "spread") == [-13, 14]
    assert starts(100, "flush") == [0, 27, 54, 73]
    assert starts(5, "flush") == [0]
    assert starts(30, "flush", 2) == [0, 2, 3]
    assert starts(3, "centred") == [-13, -12, -11]
    with pytest.raises(InputError, match="stride"):
        windows(10, 27, policy="flush", stride=28)
    with pytest.raises(InputError, match="no frames"):
        windows(0, 27, policy="flush")


def test_overlapping_windows_are_averaged_without_their_padding() -> None:
    where = windows(5, 3, policy="spread", stride=3)  # starts at 0 and 3, or padded by one
    values = torch.arange(len(where) * 3.0).view(len(where), 3)
    values[~where.inside] = torch.nan
    assert merged(torch.nan_to_num(values, 1e6), where, 5).max() < 1e3
    where = windows(4, 3, policy="flush")
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    assert merged(values, where, 4).tolist() == [0.0, 2.0, 3.0, 5.0]


def test_gaps_are_filled_along_straight_lines() -> None:
    points = torch.arange(6.0)[:, None, None].expand(6, 1, 2).clone()
    seen = torch.tensor([0, 1, 0, 0, 1, 0], dtype=torch.bool)[:, None]
    points[~seen] = torch.nan
    filled = fill_gaps(points, seen)
    assert filled[:, 0, 0].tolist() == [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]
    assert longest_gap(seen) == 2
    with pytest.raises(InputError, match="2 frames in a row"):
        fill_gaps(points, seen, longest=1)
    with pytest.raises(InputError, match="in no frame"):
        fill_gaps(points, torch.zeros_like(seen))
