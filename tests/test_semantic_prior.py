"""The semantic prior: planted distributions come back, sides mirror, files refuse nonsense."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from smpl_files import one_sentence
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.clothing.counting import (
    count_labels,
    labels_from_joints,
    mirror_of,
    mirrored,
    prior_from_counts,
    votes,
)
from meshreg.clothing.groups import DSR_CLOTHING, minimally_clothed
from meshreg.clothing.labels import Label
from meshreg.clothing.prior import SemanticPrior, load_semantic_prior, save_semantic_prior
from meshreg.errors import InputError, MissingFileError
from meshreg.render.rasterizer import Rasterizer, rasterizer
from meshreg.train.clothing_prior import DressedViews, collect_votes, learn_semantic_prior

SIZE = (160, 120)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def backend() -> Rasterizer:
    return rasterizer()


def seen_from(body: Body, azimuth_deg: float, tilt_deg: float = 0.0) -> tuple[Tensor, Tensor]:
    """The body at rest in a camera that stands around it: (vertices, K)."""
    turn = torch.tensor([0.0, math.radians(azimuth_deg), 0.0])
    tilt = torch.tensor([math.pi + math.radians(tilt_deg), 0.0, 0.0])  # y up becomes y down
    R = roma.rotvec_to_rotmat(tilt) @ roma.rotvec_to_rotmat(turn)
    centred = body.v_template - (body.v_template.amin(0) + body.v_template.amax(0)) / 2
    verts = centred @ R.T + torch.tensor([0.0, 0.0, 3.2])
    focal = 1.45 * SIZE[1]
    K = torch.tensor([[focal, 0, (SIZE[1] - 1) / 2], [0, focal, (SIZE[0] - 1) / 2], [0, 0, 1]])
    return verts[None], K[None]


def painted(
    body: Body, of_vertex: Tensor, verts: Tensor, K: Tensor, backend: Rasterizer
) -> DressedViews:
    """A picture in which every pixel has the label of its nearest corner."""
    hit = backend.fragments(verts, body.faces, K, SIZE)
    face = hit.pix_to_face[..., 0]
    nearest = hit.bary_coords[..., 0, :].argmax(-1)
    corner = body.faces[face.clamp_min(0)].gather(-1, nearest[..., None])[..., 0]
    labels = torch.where(face >= 0, of_vertex[corner], 0)
    return DressedViews(verts_cam=verts, K=K, labels=labels)


AROUND = [(a, t) for t in (-35.0, 0.0, 35.0) for a in range(0, 360, 45)]


# --- counting -------------------------------------------------------------------------------------


def test_counting_by_hand() -> None:
    """Two faces of a square, two pictures, one pixel of each kind that does not count."""
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    face = torch.tensor([[[0, 1, 1]], [[-1, 0, 0]]])
    bary = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]).expand(2, 1, 3, 3)
    labels = torch.tensor([[[5, 5, 9]], [[5, 0, 255]]], dtype=torch.uint8)
    counts = count_labels(face, bary, labels, faces, 4)
    assert counts[0, :, 5].tolist() == [0.5, 0.25, 1.25, 0.0]
    assert counts[0, :, 9].tolist() == [0.0, 0.5, 0.0, 0.5]
    assert counts[0].sum() == 3 and not counts[1].any(), "background and unknown do not count"
    counts = count_labels(face, bary, labels, faces, 4, background=True)
    assert counts[1, :, 0].tolist() == [1.0, 0.0, 0.0, 0.0] and counts[1].sum() == 1


def test_a_picture_has_one_vote_per_vertex() -> None:
    counts = torch.zeros(2, 3, 20)
    counts[0, 0, 5], counts[0, 0, 9] = 30.0, 10.0  # seen from near
    counts[1, 0, 9] = 2.0  # from far
    counts[0, 1, 7] = 0.25  # hardly seen
    found = votes(counts)
    assert found[0, [5, 9]].tolist() == [0.75, 1.25]
    assert found[1, 7] == 0.25 and not found[2].any()


@pytest.mark.parametrize("name", ["warp", "torch"])
def test_planted_labels_come_back(body: Body, name: str) -> None:
    """Labels painted on the vertices and seen from all around are learned again."""
    backend = rasterizer(name)
    around = AROUND if name == "warp" else AROUND[8:16:4]
    planted = labels_from_joints(body.weights).argmax(1)
    views = [painted(body, planted, *seen_from(body, *angle), backend) for angle in around]
    counts = collect_votes(views, body, backend)
    seen = counts.sum(1) > (1.5 if name == "warp" else 0.9)
    assert seen.float().mean() > (0.65 if name == "warp" else 0.15)
    right = (counts.argmax(1) == planted)[seen].float().mean()
    assert right > 0.97, right
    learned = prior_from_counts(counts, body, smoothing=0.05)
    wrong = learned.probs.argmax(1) != planted
    assert wrong[seen].float().mean() < 0.04, wrong[seen].float().mean()
    if name == "warp":
        certain = learned.probs.gather(1, planted[:, None])[seen, 0]
        assert certain.median() > 0.9, certain.median()


def test_planted_shares_come_back(body: Body, backend: Rasterizer) -> None:
    """Three of four people wear trousers, one bare legs: the legs learn three quarters."""
    leg = torch.isin(labels_from_joints(body.weights).argmax(1), torch.tensor([9, 18, 19]))
    left = body.v_template[:, 0] > 0
    bare = torch.where(left, int(Label.LEFT_LEG), int(Label.RIGHT_LEG))
    views = []
    for angle in (0.0, 180.0):
        for person in range(4):
            worn = bare if person == 0 else torch.full_like(bare, int(Label.PANTS))
            of_vertex = torch.where(leg, worn, int(Label.UPPER_CLOTHES))
            views.append(painted(body, of_vertex, *seen_from(body, angle), backend))
    prior = learn_semantic_prior(views, body, backend, smoothing=0.02)
    thigh = (body.weights[:, [1, 2]] > 0.95).any(1)
    assert thigh.sum() > 50
    pants = prior.probs[thigh, Label.PANTS]
    assert (pants - 0.75).abs().max() < 0.05
    skin = prior.group(minimally_clothed())
    assert (skin[thigh, 1] - 0.25).abs().max() < 0.05
    own = torch.where(left, prior.probs[:, Label.LEFT_LEG], prior.probs[:, Label.RIGHT_LEG])
    assert (own[thigh] - 0.25).abs().max() < 0.05, "each leg is its own side's"


def test_no_labels_no_prior(body: Body, backend: Rasterizer) -> None:
    verts, K = seen_from(body, 0.0)
    plain = torch.full((1, *SIZE), 254, dtype=torch.uint8)
    with pytest.raises(InputError, match="none of the 1 pictures") as caught:
        learn_semantic_prior([DressedViews(verts, K, plain)], body, backend)
    assert one_sentence(str(caught.value))
    nothing = DressedViews(verts, K, torch.zeros_like(plain))
    assert collect_votes([nothing], body, backend, background=True)[:, 1:].sum() == 0


# --- mirrors, smoothing, holes --------------------------------------------------------------------


def test_mirrored_counts_are_symmetric(body: Body) -> None:
    counts = torch.rand(len(body.v_template), 20)
    mirror = mirror_of(body)
    assert (mirrored(mirrored(counts, mirror), mirror) == counts).all()
    both = counts + mirrored(counts, mirror)
    torch.testing.assert_close(mirrored(both, mirror), both)
    probs = prior_from_counts(counts, body).probs
    torch.testing.assert_close(mirrored(probs, mirror), probs, atol=1e-6, rtol=0)


def test_a_body_without_a_mirror_map_finds_one(body: Body) -> None:
    data = replace(body.data, mirror=np.zeros(0, np.int64))
    found = mirror_of(Body(data))
    distance = body.v_template[found] * torch.tensor([-1.0, 1, 1]) - body.v_template
    assert distance.abs().max() < 1e-6


@pytest.mark.parametrize("seen", [0.0, 0.3, 1.0])
def test_rows_are_distributions(body: Body, seen: float) -> None:
    counts = torch.rand(len(body.v_template), 20) ** 8 * 5
    counts[torch.rand(len(counts)) >= seen] = 0
    probs = prior_from_counts(counts, body).probs
    assert (probs >= 0).all() and probs.isfinite().all()
    torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)), atol=1e-5, rtol=0)


def test_smoothing_solves_its_equations(body: Body) -> None:
    """Against a sparse direct solver."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    counts = torch.zeros(len(body.v_template), 20)
    counts[::3, 5], counts[1::3, 9] = 2.0, 0.5
    found = prior_from_counts(counts, body, smoothing=0.7, fallback=0.02).probs
    mirror = mirror_of(body)
    both = (counts + mirrored(counts, mirror)).double().numpy()
    faces = body.data.faces
    i, j = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    adjacency = sparse.coo_matrix((np.ones(len(i)), (i, j)), shape=[len(both)] * 2).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    degree = np.asarray(adjacency.sum(1)).ravel()
    matrix = sparse.diags(both.sum(1) + 0.014 + 0.7 * degree) - 0.7 * adjacency
    base = labels_from_joints(body.weights.double()).numpy()
    p = torch.from_numpy(np.stack([spsolve(matrix.tocsc(), r) for r in (both + 0.014 * base).T], 1))
    expected = (p + mirrored(p, mirror)) / 2
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


def test_evidence_outweighs_smoothing(body: Body) -> None:
    counts = torch.zeros(len(body.v_template), 20)
    counts[:, Label.PANTS] = 1.0
    one = int(body.weights[:, 1].argmax())
    counts[one] = 0
    for evidence, low, high in ((1.0, 0.0, 0.3), (1000.0, 0.9, 1.0)):
        counts[one, Label.SKIRT] = evidence
        share = prior_from_counts(counts, body).probs[one, Label.SKIRT]
        assert low < share < high, (evidence, share)


def test_small_holes_fill_from_their_rims_and_whole_limbs_from_their_joints(body: Body) -> None:
    counts = torch.zeros(len(body.v_template), 20)
    counts[:, Label.COAT] = 50.0
    shins = body.weights[:, [4, 5, 7, 8, 10, 11]].sum(1) > 0.5  # knees downwards
    hole = (body.v_template - body.v_template[int(body.weights[:, 9].argmax())]).norm(dim=1) < 0.04
    counts[shins | hole] = 0
    probs = prior_from_counts(counts, body).probs
    assert hole.sum() > 4 and probs[hole, Label.COAT].min() > 0.8
    left = body.weights[:, 10] > 0.9
    base = labels_from_joints(body.weights)
    assert (probs[left, Label.LEFT_SHOE] > 0.6).all() and (base[left, Label.LEFT_SHOE] > 0.9).all()


def test_the_joints_say_what_is_worn(body: Body) -> None:
    probs = labels_from_joints(body.weights)
    torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)), atol=1e-5, rtol=0)
    y, x = body.v_template[:, 1], body.v_template[:, 0]
    assert probs[y.argmax()].argmax() == Label.FACE
    assert probs[x.argmax()].argmax() == Label.LEFT_ARM
    foot = body.weights[:, 11].argmax()
    assert probs[foot].argmax() == Label.RIGHT_SHOE


# --- the prior and its file -----------------------------------------------------------------------


@pytest.fixture
def prior(body: Body) -> SemanticPrior:
    probs = torch.rand(len(body.v_template), 20) ** 4
    return SemanticPrior(
        probs=probs / probs.sum(1, keepdim=True),
        topology_hash=body.topology_hash,
        recipe="made up",
        licence="CC0",
    )


def test_faces_and_groups(prior: SemanticPrior, body: Body) -> None:
    per_face = prior.per_face(body.faces)
    torch.testing.assert_close(per_face[7], prior.probs[body.faces[7]].mean(0))
    grouped = prior.group(DSR_CLOTHING)
    assert grouped.shape == (len(prior.probs), 8)
    torch.testing.assert_close(grouped[:, 3], prior.probs[:, [8, 9, 12]].sum(1))
    torch.testing.assert_close(grouped.sum(1), torch.ones(len(grouped)))


def test_a_file_gives_back_what_was_saved(tmp_path: Path, prior: SemanticPrior, body: Body) -> None:
    path = tmp_path / "prior.safetensors"
    save_semantic_prior(path, prior)
    found = load_semantic_prior(path, body=body)
    assert (found.recipe, found.licence) == ("made up", "CC0")
    torch.testing.assert_close(found.probs, prior.probs, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.probs.sum(1), torch.ones(len(found.probs)))
    assert path.stat().st_size < 41 * len(prior.probs)
    before = path.read_bytes()
    save_semantic_prior(path, prior)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def refusal(*args: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load_semantic_prior(*args, **options)
    assert one_sentence(str(caught.value)), str(caught.value)
    return str(caught.value)


def test_files_that_are_refused(tmp_path: Path, prior: SemanticPrior, body: Body) -> None:
    path = tmp_path / "prior.safetensors"
    with pytest.raises(MissingFileError, match="meshreg prior learn"):
        load_semantic_prior(path)
    path.write_bytes(b"nonsense")
    assert "damaged" in refusal(path)
    save_semantic_prior(path, replace(prior, topology_hash="0" * 16))
    assert "topology" in refusal(path, body=body)
    assert load_semantic_prior(path).topology_hash == "0" * 16
    for wrong in (prior.probs[:, :19], prior.probs * 2, prior.probs * math.nan):
        write_probs(path, wrong)
        assert "no semantic prior" in refusal(path)
    with pytest.raises(InputError, match="safetensors"):
        save_semantic_prior(tmp_path / "prior.npz", prior)


def write_probs(path: Path, probs: Tensor) -> None:
    from safetensors.torch import save_file

    about = {"topology_hash": "x", "recipe": "", "licence": ""}
    metadata = {"meshreg semantic prior 1": json.dumps(about)}
    save_file({"probs": probs.contiguous()}, path, metadata=metadata)
