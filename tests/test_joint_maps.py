"""The head that looks for joints first: its maps, its tokens, its losses."""

from dataclasses import replace

import pytest
import torch
from plain_people import BareBodies, plain_body, plain_planner

from meshreg.body.skeleton import SKELETONS
from meshreg.data.sample import Batch
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.errors import InputError
from meshreg.losses.joint_maps import cell_error, depth_behind_pelvis, depth_error, doubt
from meshreg.losses.terms import total
from meshreg.models.architecture import Architecture
from meshreg.models.builders import build_hmr, hmr_resnet18, hmr_small
from meshreg.models.hmr import HMR, made_for
from meshreg.models.joint_head import JointMapHead
from meshreg.models.joint_maps import JointMaps, TopDown
from meshreg.models.outputs import JointEvidence
from meshreg.models.start import upright_start
from meshreg.train.hmr_config import LossConfig, TermConfig
from meshreg.train.hmr_terms import HmrTerms
from meshreg.train.map_terms import MapTerms


@pytest.fixture(scope="module")
def model() -> HMR:
    torch.manual_seed(0)
    return hmr_small(conditioned=True).eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    people = SyntheticPeople(plain_planner(3, size=64), BareBodies(plain_body()), batch_size=1)
    return people.render([0, 1, 2])


def peaked(width: int, height: int, cells: list[tuple[int, int]]) -> tuple[JointMaps, torch.Tensor]:
    """Maps whose joint j is certain to be at column x, row y, and features that say where."""
    maps = JointMaps(len(cells) + 1, num_joints=len(cells))
    features = torch.zeros(1, len(cells) + 1, height, width)
    for joint, (x, y) in enumerate(cells):
        features[0, joint, y, x] = 1.0
    features[0, -1] = torch.arange(height * width).reshape(height, width) / 10
    weight = torch.zeros(4, len(cells), len(cells) + 1)
    weight[0, :, :-1] = 1e3 * torch.eye(len(cells))
    weight[1, :, -1] = 1.0  # depth
    weight[2, :, -1] = -1.0  # the first doubt
    with torch.no_grad():
        maps.readout.weight.copy_(weight.reshape(-1, len(cells) + 1, 1, 1))
        maps.readout.bias.zero_()
    return maps, features


def test_a_peak_is_read_where_it_is() -> None:
    maps, features = peaked(4, 2, [(0, 0), (3, 1), (2, 0)])
    evidence, around = maps(features)
    points = torch.tensor([[-0.75, -0.5], [0.75, 0.5], [0.25, -0.5]])
    torch.testing.assert_close(evidence.points[0], points)
    torch.testing.assert_close(evidence.depth[0], torch.tensor([0.0, 0.7, 0.2]))
    torch.testing.assert_close(evidence.log_spread[0], torch.tensor([0.0, -0.7, -0.2]))
    torch.testing.assert_close(around[0, 1], torch.tensor([0.0, 1.0, 0.0, 0.7]))
    # The centre of the first pixel of a picture of 8 x 8 is half a pixel from its border.
    assert evidence.points_px(8)[0, 0].tolist() == pytest.approx([0.5, 1.5])


def test_between_two_peaks_is_the_mean() -> None:
    maps, features = peaked(4, 1, [(0, 0)])
    features[0, 0, 0, 3] = 1.0
    assert maps(features)[0].points[0, 0].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_coarse_maps_reach_the_finest() -> None:
    merge = TopDown((3, 5), 4).eval()
    fine, coarse = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)
    before = merge([fine, coarse])
    assert before.shape == (2, 4, 8, 8)
    assert not torch.allclose(merge([fine, coarse + 1]), before)
    assert not torch.allclose(merge([fine + 1, coarse]), before)


def test_a_new_head_says_the_start_body(model: HMR) -> None:
    image = torch.rand(2, 3, 128, 128)
    prediction = model(image, **view(2))
    start = upright_start()
    assert (prediction.betas - start.betas).abs().max() < 0.2
    assert (prediction.cam - start.cam).abs().max() < 0.2
    evidence = prediction.evidence
    assert evidence is not None and evidence.points.shape == (2, 45, 2)
    assert evidence.points.abs().max() < 1
    assert prediction.detach().evidence is not None


def test_each_joint_turns_by_its_own_token(model: HMR) -> None:
    head = model.head
    assert isinstance(head, JointMapHead)
    tokens = torch.randn(1, 24, 128, requires_grad=True)
    turns = head._turns(tokens).unflatten(1, (24, 6))
    (grad,) = torch.autograd.grad(turns[0, 7].sum(), tokens)
    touched = grad[0].abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [7]
    expected = head.decpose.weight[42:48] @ tokens[0, 7] + head.decpose.bias[42:48]
    torch.testing.assert_close(turns[0, 7], expected)


def test_a_larger_network_can_have_it() -> None:
    architecture = Architecture("resnet18", head="joint_maps", width=64, num_heads=4)
    model = build_hmr(architecture)
    assert model(torch.rand(1, 3, 64, 64)).evidence is not None
    with pytest.raises(InputError, match="one resolution only"):
        build_hmr(Architecture("vit_small_patch16_224", head="joint_maps"))


def test_models_remember_the_size_of_their_pictures() -> None:
    model = hmr_resnet18()
    made_for(model, 96)
    assert model.image_size == 96
    assert model.architecture is not None and model.architecture.image_size == 96


def view(count: int) -> dict[str, torch.Tensor]:
    K = torch.tensor([[[500.0, 0, 300], [0, 500, 300], [0, 0, 1]]]).expand(count, 3, 3)
    return {"K_full": K, "box": torch.tensor([[300.0, 300, 200]]).expand(count, 3)}


# --- losses ---------------------------------------------------------------------------------------
def test_doubt_is_least_at_the_mean_error() -> None:
    error = torch.tensor([0.1, 0.5, 0.3, 9.0], requires_grad=True)
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0])
    spreads = torch.linspace(0.05, 0.8, 76)
    values = [doubt(error, spread.log().expand(4), weight).item() for spread in spreads]
    best = spreads[torch.tensor(values).argmin()]
    assert best.item() == pytest.approx(0.3, abs=1e-6)  # the mean of the three that count
    assert min(values) == pytest.approx(1 + torch.tensor(0.3).log().item(), abs=1e-6)
    doubted = torch.zeros(4, requires_grad=True)
    doubt(error, doubted, weight).backward()
    assert error.grad is None and doubted.grad is not None


def test_the_best_map_has_its_mean_at_the_point() -> None:
    """Descent on the maps alone: cross entropy ends where the soft-argmax is exact."""
    points = torch.tensor([[[0.3, -0.55], [-0.99, 0.99], [0.0, 0.0]]])
    weight = torch.tensor([[1.0, 1.0, 0.0]])
    scores = torch.zeros(1, 3, 4 * 6, requires_grad=True)
    first = cell_error(log_share(scores), points, weight).item()
    assert first == pytest.approx(torch.tensor(24.0).log().item(), abs=1e-5)
    optimizer = torch.optim.Adam([scores], lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        cell_error(log_share(scores), points, weight).backward()
        optimizer.step()
    mean = torch.einsum("bjhw,hwc->bjc", log_share(scores).exp(), cells(4, 6))
    torch.testing.assert_close(mean[0, 0], points[0, 0], atol=2e-3, rtol=0)
    corner = torch.tensor([-5 / 6, 3 / 4])  # the centre of the cell nearest to the second point
    torch.testing.assert_close(mean[0, 1], corner, atol=1e-2, rtol=0)
    assert (scores[0, 2] == 0).all()  # of weight zero
    nan = torch.where(weight[..., None] > 0, points, torch.nan)
    assert cell_error(log_share(scores), nan, weight).isfinite()


def log_share(scores: torch.Tensor) -> torch.Tensor:
    return scores.log_softmax(-1).unflatten(-1, (4, 6))


def cells(height: int, width: int) -> torch.Tensor:
    y, x = (torch.arange(n) * 2 / n - 1 + 1 / n for n in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def test_depths_are_measured_from_the_pelvis() -> None:
    joints = torch.zeros(2, 3, 3)
    joints[0, :, 2] = torch.tensor([4.0, 4.5, float("nan")])
    joints[1, :, 2] = torch.tensor([float("nan"), 2.0, 2.0])
    weight = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])  # the second has no pelvis
    target, known = depth_behind_pelvis(joints, weight)
    assert target.tolist() == [[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]
    assert known.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    depth = torch.tensor([[0.1, 0.2, 7.0], [7.0, 7.0, 7.0]], requires_grad=True)
    loss = depth_error(depth, joints, weight)
    assert loss.item() == pytest.approx((0.1 + 0.3) / 2)
    loss.backward()
    assert depth.grad is not None and depth.grad.isfinite().all()


def test_hidden_joints_are_known_only_in_3d(batch: Batch) -> None:
    hidden = replace(batch, joints_visible=torch.zeros_like(batch.joints_visible))
    terms = MapTerms(LossConfig())
    inside = ((batch.joints_px > -0.5) & (batch.joints_px < 63.5)).all(-1)
    assert torch.equal(terms._seen(hidden, 64), inside)
    assert not MapTerms(LossConfig(supervision="2d"))._seen(hidden, 64).any()
    nowhere = replace(hidden, transl_weight=torch.zeros(3))
    assert not terms._seen(nowhere, 64).any()


def test_annotated_joints_teach_the_maps_where_the_body_does_not(batch: Batch) -> None:
    wrist, theirs = SKELETONS["smplx45"].index("left_wrist")[0], 7
    assert SKELETONS["spin49"].joints[theirs] == "left_wrist"
    points, weight = batch.keypoints_px.clone(), batch.keypoints_weight.clone()
    points[:, theirs], weight[:, theirs] = torch.tensor([20.0, 30.0]), 0.7
    points[2, theirs, 0] = 70.0  # outside
    nobody = torch.zeros_like(batch.joints_visible)
    photo = replace(
        batch,
        keypoints_px=points,
        keypoints_weight=weight,
        joints_visible=nobody,
        joints_weight=nobody.float(),
    )
    places, weights = MapTerms(LossConfig())._places(photo, 64)
    assert places[0, wrist].tolist() == [20.0, 30.0]
    assert weights[:, wrist].tolist() == pytest.approx([0.7, 0.7, 0.0])
    assert weights.count_nonzero() == 2
    known = replace(photo, joints_visible=~nobody)
    places, weights = MapTerms(LossConfig())._places(known, 64)
    assert torch.equal(places, batch.joints_px) and (weights == 1).all()


def test_the_truth_costs_nothing(batch: Batch) -> None:
    depth = batch.joints_cam[..., 2] - batch.joints_cam[:, :1, 2]
    zeros = torch.zeros(3, 45)
    points = (batch.joints_px + 0.5) / 32 - 1
    exact = JointEvidence(
        points=points,
        depth=depth,
        log_spread=zeros,
        log_depth_spread=zeros,
        log_share=torch.zeros(3, 45, 4, 4),
    )
    terms = MapTerms(LossConfig())(exact, batch)
    assert terms["map_points"]().item() == pytest.approx(0, abs=1e-5)
    assert terms["map_depth"]().item() == pytest.approx(0, abs=1e-5)
    moved = replace(exact, points=points + torch.tensor([0.25, 0.0]), depth=depth + 0.5)
    terms = MapTerms(LossConfig())(moved, batch)
    assert terms["map_points"]().item() == pytest.approx(0.25, abs=1e-5)
    assert terms["map_depth"]().item() == pytest.approx(0.5, abs=1e-5)
    assert terms["map_doubt"]().item() == pytest.approx(0.125 + 0.5, abs=1e-5)


def test_maps_learn_through_their_terms_alone(batch: Batch) -> None:
    torch.manual_seed(1)
    model = hmr_small(conditioned=True)
    off = TermConfig()
    config = LossConfig(
        keypoints2d=off, joints3d=off, pose=off, betas=off, camera=off, map_points=TermConfig(1.0)
    )
    terms = HmrTerms(config, model.body)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    values = []
    for step in range(20):
        optimizer.zero_grad()
        loss, _ = total(terms(model, batch, step))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0], values


def test_networks_without_maps_are_refused(batch: Batch) -> None:
    model = hmr_resnet18(conditioned=True)
    terms = HmrTerms(LossConfig(map_points=TermConfig(1.0)), model.body)
    with pytest.raises(InputError, match="need a model with joint"):
        terms(model, batch, 0)
