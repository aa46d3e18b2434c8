"""The Hourglass Tokenizer: which frames it keeps, and what it makes of them."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, reference, relative_error
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.lifters import blocks
from meshreg.lifters.hot import (
    HourglassTokenizer,
    KeptPoses,
    TokenPruning,
    hot_mixste,
    representative_frames,
    tpc_mixste,
)
from meshreg.lifters.released import RELEASES, load_released

SIZES = {"frames": 9, "num_joints": 4, "width": 16, "hidden": 24, "depth": 3}


@pytest.fixture
def hot() -> HourglassTokenizer:
    model = hot_mixste(keep=4, after=1, **SIZES)
    nn.init.normal_(model.recovery.queries)
    nn.init.normal_(model.kept_places)
    return model.eval()


@pytest.fixture
def tpc() -> TokenPruning:
    return tpc_mixste(keep=4, after=2, **SIZES).eval()


@pytest.fixture
def clip() -> Tensor:
    return torch.rand(3, 9, 4, 2)


def written_out_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("name", ["hot_mixste", "tpc_mixste"])
def test_released_weights_give_the_released_outputs_and_gradients(
    reference_fixtures: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that the noise leads to the same frames.

    The fused attention rounds differently in the seventh digit, which can change a tie; so here
    the formula is used as it stands.
    """
    monkeypatch.setattr(blocks.F, "scaled_dot_product_attention", written_out_attention)
    numbers = reference(reference_fixtures, f"{name}_t27_c64")
    options = {"keep": numbers["output"].shape[1]} if name == "tpc_mixste" else {}
    model = load_released(name, numbers["state_dict"], **options)
    model.register_forward_hook(
        lambda _model, _inputs, out: out.poses if isinstance(out, KeptPoses) else out
    )
    assert_same(model, numbers, RELEASES[name].names, noise=numbers["tpc"]["noise"])


def test_the_fused_attention_gives_the_same_for_the_same_frames(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "hot_mixste_t27_c64")
    model = load_released("hot_mixste", numbers["state_dict"])
    frames = numbers["tpc"]["index_down"].sort(1).values
    assert_same(model, numbers, RELEASES["hot_mixste"].names, frames=frames)


@pytest.mark.parametrize("name", ["hot_mixste", "tpc_mixste"])
def test_the_released_descriptors_give_the_released_frames(
    reference_fixtures: Path, name: str
) -> None:
    numbers = reference(reference_fixtures, f"{name}_t27_c64")
    chosen, centre = numbers["tpc"]["index_down"], name == "tpc_mixste"
    if centre:
        chosen = torch.cat([chosen, torch.full_like(chosen[:, :1], 13)], 1)
    got = representative_frames(
        numbers["tpc"]["cluster_input"],
        keep=chosen.shape[1],
        noise=numbers["tpc"]["noise"],
        centre=centre,
    )
    assert torch.equal(got, chosen.sort(1).values)


def peaks_one_by_one(points: list[list[float]], noise: list[float], keep: int) -> list[int]:
    """Density peaks in plain Python."""
    count, width = len(points), len(points[0])

    def apart(a: int, b: int) -> float:
        pairs = zip(points[a], points[b], strict=True)
        return (sum((x - y) ** 2 for x, y in pairs) / width) ** 0.5

    distances = [[apart(a, b) for b in range(count)] for a in range(count)]
    nearest = torch.tensor([min(row[:i] + row[i + 1 :]) for i, row in enumerate(distances)])
    density = ((-(nearest**2) / 2).exp() + 1e-6 * torch.tensor(noise)).tolist()
    farthest = max(map(max, distances))
    scores = []
    for a in range(count):
        denser = [distances[a][b] for b in range(count) if density[b] > density[a]]
        scores.append(density[a] * min([farthest, *denser]))
    return sorted(sorted(range(count), key=lambda i: -scores[i])[:keep])


def test_frames_are_those_of_density_peaks() -> None:
    points, noise = 3 * torch.rand(4, 20, 3, dtype=torch.float64), torch.rand(4, 20)
    got = representative_frames(points, keep=6, noise=noise.double(), centre=False)
    pairs = list(zip(points, noise, strict=True))
    torch.set_default_dtype(torch.float64)
    try:
        wanted = [peaks_one_by_one(p.tolist(), n.tolist(), 6) for p, n in pairs]
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.tolist() == wanted


def test_every_cluster_keeps_one_frame() -> None:
    centres = torch.tensor([[0.0, 0], [9, 0], [0, 9], [9, 9]])
    which = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 3, 3])
    points = centres[which] + 0.1 * torch.rand(10, 2)
    noise = torch.linspace(0, 1, 10)[None]  # apart in single precision: no ties are left
    frames = representative_frames(points[None], keep=4, noise=noise, centre=False)
    assert which[frames[0]].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("keep", [1, 2, 9])
def test_the_centre_is_kept(keep: int) -> None:
    points = torch.rand(6, 9, 5)
    frames = representative_frames(points, keep=keep, noise=torch.rand(6, 9), centre=True)
    assert frames.shape == (6, keep)
    assert (frames == 4).any(1).all()
    assert (frames.diff(dim=1) > 0).all(), "ascending, each once"


def test_without_noise_the_choice_repeats(hot: HourglassTokenizer, clip: Tensor) -> None:
    assert torch.equal(hot(clip), hot(clip))
    tokens = torch.zeros(1, 9, 4, 16)  # all frames tie, so the noise alone decides
    assert torch.equal(hot.choose(tokens), hot.choose(tokens))


def test_a_generator_repeats_and_varies_the_choice(hot: HourglassTokenizer) -> None:
    tokens = torch.rand(8, 2, 4, 16).repeat_interleave(5, 1)[:, :9]  # many frames tie

    def chosen(seed: int) -> list:
        return hot.choose(tokens, generator=torch.Generator().manual_seed(seed)).tolist()

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def test_training_varies_the_choice(hot: HourglassTokenizer) -> None:
    tokens = torch.rand(8, 2, 4, 16).repeat_interleave(5, 1)[:, :9]
    hot.train()
    assert not torch.equal(hot.choose(tokens), hot.choose(tokens))


def test_given_frames_are_taken(tpc: TokenPruning, clip: Tensor) -> None:
    plain = tpc(clip)
    mirrored = tpc(clip * torch.tensor([-1.0, 1]), frames=plain.frames)
    assert torch.equal(mirrored.frames, plain.frames)
    assert plain.poses.shape == (3, 4, 4, 3)


def test_keeping_all_frames_is_the_lifter_itself(clip: Tensor) -> None:
    model = tpc_mixste(keep=9, after=2, **SIZES).eval()
    kept = model(clip)
    assert kept.frames.tolist() == [list(range(9))] * 3
    torch.testing.assert_close(kept.poses, model.lifter(clip))


def test_the_centre_can_be_asked_for(tpc: TokenPruning, clip: Tensor) -> None:
    kept = tpc(clip)
    for sample in range(3):
        place = kept.frames[sample].tolist().index(4)
        assert torch.equal(kept.at(4)[sample], kept.poses[sample, place])
    missing = next(frame for frame in range(9) if not (kept.frames == frame).any(1).all())
    with pytest.raises(InputError, match=f"frame {missing} was left out"):
        kept.at(missing)


@torch.no_grad()
def test_left_out_frames_count_no_more(clip: Tensor) -> None:
    """With attention among frames in the later layers only, they leave no trace."""
    model = tpc_mixste(keep=4, after=1, **SIZES).eval()
    nn.init.zeros_(model.lifter.trunk.temporal[0].attn.proj.weight)
    frames = torch.tensor([[0, 2, 4, 7]] * 3)
    changed = clip.clone()
    changed[:, [1, 3, 5, 6, 8]] += 1
    same = relative_error(model(changed, frames=frames).poses, model(clip, frames=frames).poses)
    assert same < 1e-5
    changed[:, 2] += 1
    other = relative_error(model(changed, frames=frames).poses, model(clip, frames=frames).poses)
    assert other > 1e-3


def test_everything_learns(hot: HourglassTokenizer, clip: Tensor) -> None:
    hot.train()
    hot(clip).square().sum().backward()
    still = [name for name, p in hot.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_recovered_frames_have_their_own_queries(hot: HourglassTokenizer, clip: Tensor) -> None:
    before = hot(clip)
    with torch.no_grad():
        hot.recovery.queries[:, 5] += 1
    changed = (hot(clip) - before).abs().amax((0, 2, 3)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [5]


def test_wrong_inputs_are_refused(hot: HourglassTokenizer, clip: Tensor) -> None:
    with pytest.raises(InputError, match="takes 4 joints, not 3"):
        hot(clip[:, :, :3])
    with pytest.raises(InputError, match=r"noise has the shape \(3, 8\), not \(3, 9\)"):
        hot.choose(torch.rand(3, 9, 4, 16), noise=torch.rand(3, 8))
    with pytest.raises(InputError, match=r"frames has the shape \(3, 5\), not \(3, 4\)"):
        hot(clip, frames=torch.zeros(3, 5, dtype=torch.long))
    with pytest.raises(InputError, match="10 of 9 frames cannot be kept"):
        hot_mixste(keep=10, after=1, **SIZES)
    for after in (0, 3):
        with pytest.raises(InputError, match=f"after layer {after} of 3: choose 1 to 2"):
            hot_mixste(keep=4, after=after, **SIZES)
