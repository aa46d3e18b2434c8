"""From labelled pixels on a body to a semantic prior: count, mirror, smooth, normalise."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body
from meshreg.clothing.labels import FLIP, NUM_LABELS, Label
from meshreg.clothing.prior import SemanticPrior
from meshreg.geometry.mesh import edges

FULL_VOTE_PX = 1.0  # so many pixels of a vertex make its vote in one picture a whole one
MAX_STEPS, TOLERANCE = 2000, 1e-7  # of the linear solver; a few hundred steps are usual

# What a surface shows if nobody has seen it: the label of the joint that moves it. DSR's released
# table, except that the neck, which has no label there, is bare.
LABELS_OF_JOINTS: dict[Label, tuple[str, ...]] = {
    Label.LEFT_SHOE: ("left_ankle", "left_foot"),
    Label.RIGHT_SHOE: ("right_ankle", "right_foot"),
    Label.LEFT_ARM: ("left_elbow", "left_wrist", "left_hand"),
    Label.RIGHT_ARM: ("right_elbow", "right_wrist", "right_hand"),
    Label.FACE: ("head",),
    Label.TORSO_SKIN: ("neck",),
    Label.UPPER_CLOTHES: ("pelvis", "spine1", "spine2", "spine3")
    + ("left_collar", "right_collar", "left_shoulder", "right_shoulder")
    + ("left_elbow", "right_elbow"),
    Label.PANTS: ("left_hip", "right_hip", "left_knee", "right_knee"),
}


def count_labels(
    face: Int[Tensor, "B H W"],
    bary: Float[Tensor, "B H W 3"],
    labels: Integer[Tensor, "B H W"],
    faces: Int[Tensor, "F 3"],
    num_vertices: int,
    *,
    background: bool = False,
) -> Float[Tensor, "B V 20"]:
    """How many pixels of each label every vertex has in each picture.

    A pixel counts once, shared among the corners of its triangle by its barycentric weights. So a
    vertex' count is the picture area under its hat function: it does not depend on how the pixels
    fall on the vertices, and it is the adjoint of drawing interpolated values of vertices.

    Pixels off the body count nothing, nor do ids that name no class (254, 255). Background pixels
    on the body count only if asked for: they say that the body lies wrong there or that something
    stands in front of it, not what the person wears.

    Args:
        face: index into `faces` of the front surface, -1 where there is none.
        bary: weights of the face's corners.
        labels: CIHP ids.
        faces: triangles of the body.
        num_vertices: of the body.
        background: count label 0, too.
    """
    counted = (face >= 0) & (labels < NUM_LABELS) & (labels >= (0 if background else 1))
    picture, *_ = counted.nonzero(as_tuple=True)
    corner = picture[:, None] * num_vertices + faces[face[counted].long()]
    place = corner * NUM_LABELS + labels[counted].long()[:, None]
    counts = bary.new_zeros(len(face) * num_vertices * NUM_LABELS)
    counts.index_add_(0, place.flatten(), bary[counted].flatten())
    return counts.reshape(len(face), num_vertices, NUM_LABELS)


def votes(counts: Float[Tensor, "B V 20"]) -> Float[Tensor, "V 20"]:
    """One vote per picture and vertex, split by its pixels' labels and added over the pictures.

    The pixels of one picture agree with each other because it shows one outfit. Counting them
    singly, a close-up would outvote everybody who stands further away.
    """
    total = counts.sum(-1, keepdim=True)
    return (counts / total.clamp_min(FULL_VOTE_PX)).sum(0)


def mirror_of(body: Body) -> Int[Tensor, " V"]:
    """For every vertex the one on the other side; the nearest one if the body names none."""
    if len(body.data.mirror):
        return torch.from_numpy(body.data.mirror).to(body.faces.device)
    mirrored = body.v_template * body.v_template.new_tensor([-1.0, 1.0, 1.0])
    return torch.cat([torch.cdist(m, body.v_template).argmin(1) for m in mirrored.split(1024)])


def mirrored(values: Float[Tensor, "V 20"], mirror: Int[Tensor, " V"]) -> Float[Tensor, "V 20"]:
    """What the left-right mirrored pictures would give."""
    return values[mirror][:, list(FLIP)]


def labels_from_joints(weights: Float[Tensor, "V 24"]) -> Float[Tensor, "V 20"]:
    """A rough prior from skinning weights alone: `LABELS_OF_JOINTS`, rows sum to one."""
    member = weights.new_zeros(weights.shape[1], NUM_LABELS)
    for label, joints in LABELS_OF_JOINTS.items():
        member[SKELETONS["smpl24"].index(*joints), label] = 1.0
    scores = weights @ member
    return scores / scores.sum(1, keepdim=True)


def prior_from_counts(
    counts: Float[Tensor, "V 20"],
    body: Body,
    *,
    smoothing: float = 1.0,
    fallback: float = 0.01,
    recipe: str = "",
    licence: str = "",
) -> SemanticPrior:
    """Turn counts, best `votes`, into probabilities that are mirror images left and right.

    Args:
        counts: evidence per vertex and label.
        body: whose vertices they are.
        smoothing: how much evidence each neighbour of a vertex stands for, in units of `counts`.
            It decides where little was seen and vanishes where much was.
        fallback: the share of `smoothing` with which skinning weights vote: holes up to ten edges
            or so are filled from their rims, wider ones by the joint that moves them.
        recipe: how the counts were made.
        licence: who owns the result and under which terms.
    """
    assert smoothing > 0 and fallback > 0, (smoothing, fallback)
    mirror = mirror_of(body)
    evidence = (counts + mirrored(counts, mirror)).double()
    base = labels_from_joints(body.weights.double())
    probs = _smoothed(evidence, body.faces, base, smoothing, smoothing * fallback)
    probs = (probs + mirrored(probs, mirror)).clamp_min(0)  # a mesh need not mirror edge by edge
    return SemanticPrior(
        probs=(probs / probs.sum(1, keepdim=True)).float(),
        topology_hash=body.topology_hash,
        recipe=recipe,
        licence=licence,
    )


def _smoothed(
    counts: Float[Tensor, "V C"],
    faces: Int[Tensor, "F 3"],
    base: Float[Tensor, "V C"],
    per_edge: float,
    per_vertex: float,
) -> Float[Tensor, "V C"]:
    """The mean of a Dirichlet at each vertex whose pseudo-counts are its neighbours' means.

    With n the row sums of the counts c, that is (n + k + e) p = c + k mean(p of neighbours) + e q
    for k = per_edge * neighbours, e = per_vertex and the base q: diag(n + e) p + per_edge L p =
    c + e q with the graph's Laplacian L. It keeps rows summing to one and no entry negative.
    """
    first, second = edges(faces).unbind(1)
    ends, others = torch.cat([first, second]), torch.cat([second, first])
    degree = torch.bincount(ends, minlength=len(counts))[:, None].to(counts)
    own = counts.sum(1, keepdim=True) + per_vertex + per_edge * degree

    def apply(p: Tensor) -> Tensor:
        return own * p - per_edge * torch.zeros_like(p).index_add_(0, ends, p[others])

    return _conjugate_gradients(apply, own, counts + per_vertex * base)


def _conjugate_gradients(
    apply: Callable[[Tensor], Tensor], diagonal: Tensor, target: Tensor
) -> Tensor:
    """Solve apply(x) = target for all columns, preconditioned by the diagonal."""
    x = target / diagonal
    residual = target - apply(x)
    direction = step = residual / diagonal
    energy = (residual * step).sum(0)
    enough = TOLERANCE**2 * (target * (target / diagonal)).sum(0)
    for _ in range(MAX_STEPS):
        if bool((energy <= enough).all()):
            break
        image = apply(direction)
        curvature = (direction * image).sum(0)
        rate = torch.where(curvature > 0, energy / curvature.clamp_min(1e-300), 0.0)
        x, residual = x + rate * direction, residual - rate * image
        step = residual / diagonal
        previous, energy = energy, (residual * step).sum(0)
        direction = step + energy / previous.clamp_min(1e-300) * direction
    return x
