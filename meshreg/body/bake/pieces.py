"""Bakes the skirt that synthetic people wear, from MakeHuman's CC0 helper geometry.

MakeHuman's base mesh carries an ankle-length skirt that follows every shape target. Here it is put
into the same T-pose as the built-in body, and its shape is tied to that body's betas.
"""

from pathlib import Path
from typing import Any

import numpy as np

from meshreg.body.assets import BodyData, check_same_topology, load_body_data, write_npz
from meshreg.body.bake.makehuman import MakeHuman, find_assets, load_makehuman
from meshreg.body.bake.population import sample_adults
from meshreg.body.bake.recipe import LICENCE, Report, anchor_joints, summary, timed
from meshreg.body.bake.regressors import apply_regressor, errors_mm
from meshreg.body.bake.rig import MIRRORED_JOINT, joint_weights, largest_weights
from meshreg.body.bake.shape_space import ShapeSpace, symmetric_shapes, vertex_areas
from meshreg.body.bake.topology import Topology, build_topology
from meshreg.body.bake.tpose import TPose
from meshreg.body.bake.traits import Traits

NUM_PEOPLE = 320  # as many as the recipe needs for its joints; the skirt has 10 numbers per axis
CHUNK = 50
INNER_NEIGHBOURS = 4  # of a vertex inside a sheet of quads; on a rim it has three


def bake_pieces(
    output: Path, *, assets: Path | None = None, seed: int = 0, report: Report | None = None
) -> None:
    """Write the skirt that belongs to the built-in body.

    Raises:
        InputError: if MakeHuman's files are not found or give another body than the built-in one.
    """
    say = timed(report or (lambda _line: None))
    body = load_body_data()
    folder, origin = find_assets(assets)
    human = load_makehuman(folder)
    weights = joint_weights(human)
    topology = build_topology(human, weights)
    made = BodyData(**{**vars(body), "faces": topology.faces})
    check_same_topology(body.topology_hash, made.topology_hash, "the body made from these files")
    say(f"simplified the mesh to {len(topology.source)} vertices")

    rng = np.random.default_rng(seed)
    traits, _, _ = sample_adults(human, topology, NUM_PEOPLE, rng)
    a_pose_regressor = anchor_joints(human, topology, traits, weights[topology.source], rng)
    order = skirt_grid(human)
    shapes, skirts = dressed_rest_shapes(human, topology, traits, a_pose_regressor, order)
    pelvis = apply_regressor(body.J_regressor[:1], shapes).astype(np.float32)
    shapes, skirts = shapes - pelvis, skirts - pelvis
    template, shapedirs = tie_to_betas(body, shapes, skirts)
    say("tied the skirt to the betas: " + skirt_error(body, shapes, skirts, template, shapedirs))

    weights = largest_weights(weights[order])
    own_mirror = mirror_within(human, order)
    arrays: dict[str, Any] = {
        "topology_hash": np.array(body.topology_hash),
        "licence": np.array(LICENCE),
        "recipe": np.array(f"bake_pieces from the MakeHuman files of {origin}, seed {seed}"),
        "skirt.template": template.astype(np.float32),
        "skirt.shapedirs": shapedirs.astype(np.float16),
        "skirt.weights": (0.5 * (weights + weights[own_mirror][:, MIRRORED_JOINT])).astype("f2"),
    }
    write_npz(output, arrays)


def skirt_grid(human: MakeHuman) -> np.ndarray:
    """The skirt's vertices ring by ring from the waist down, each from the front to the left."""
    neighbours = skirt_neighbours(human)
    rim = [vertex for vertex, others in neighbours.items() if len(others) < INNER_NEIGHBOURS]
    height = human.vertices[:, 1]
    waist = [vertex for vertex in rim if height[vertex] > height[rim].mean()]
    rings, seen = [np.array(waist)], set(waist)
    while len(seen) < len(neighbours):
        below = [next(iter(neighbours[vertex] - seen)) for vertex in rings[-1]]
        rings.append(np.array(below))
        seen.update(below)
    first = human.vertices[rings[0]]
    angle = np.arctan2(first[:, 0], first[:, 2] - first[:, 2].mean())
    return np.stack(rings)[:, np.argsort(np.mod(angle + 1e-6, 2 * np.pi))].ravel()


def skirt_neighbours(human: MakeHuman) -> dict[int, set[int]]:
    """The vertices that share an edge with each vertex of the skirt."""
    neighbours: dict[int, set[int]] = {}
    for quad in human.groups["helper-skirt"].quads.tolist():
        for start, end in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours.setdefault(start, set()).add(end)
            neighbours.setdefault(end, set()).add(start)
    return neighbours


def mirror_within(human: MakeHuman, order: np.ndarray) -> np.ndarray:
    """For each vertex of the piece the row of its mirror image."""
    row = np.full(len(human.vertices), -1)
    row[order] = np.arange(len(order))
    mirror = row[human.mirror[order]]
    assert (mirror >= 0).all(), "the piece has no mirror image within itself"
    return mirror


def dressed_rest_shapes(
    human: MakeHuman,
    topology: Topology,
    traits: Traits,
    a_pose_regressor: np.ndarray,
    order: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Everyone's body and skirt in the T-pose, both symmetric."""
    to_tpose = TPose(human)
    coefficients = human.coefficients(traits)
    mirror = mirror_within(human, order)
    bodies, skirts = [], []
    for start in range(0, len(traits), CHUNK):
        people = human.shapes(coefficients[start : start + CHUNK])
        anchored = apply_regressor(a_pose_regressor, people[:, topology.source])
        body, _ = to_tpose(people, anchored, topology.source)
        skirt, _ = to_tpose(people, anchored, order)
        bodies.append(symmetric_shapes(body, topology.mirror))
        skirts.append(symmetric_shapes(skirt, mirror))
    return np.concatenate(bodies), np.concatenate(skirts)


def tie_to_betas(
    body: BodyData, shapes: np.ndarray, skirts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Template and shape directions of the skirt by least squares against the body's betas."""
    betas = body_betas(body, shapes)
    known = np.concatenate([np.ones((len(betas), 1)), betas], axis=1)
    solution, *_ = np.linalg.lstsq(known, skirts.reshape(len(skirts), -1), rcond=None)
    template = solution[0].reshape(-1, 3)
    return template, np.moveaxis(solution[1:].reshape(betas.shape[1], -1, 3), 0, -1)


def body_betas(body: BodyData, shapes: np.ndarray) -> np.ndarray:
    """The betas of rest shapes: (N, S)."""
    space = ShapeSpace(body.v_template, body.shapedirs, np.zeros(body.shapedirs.shape[-1]))
    return space.project(shapes, vertex_areas(body.v_template, body.faces))


def skirt_error(
    body: BodyData,
    shapes: np.ndarray,
    skirts: np.ndarray,
    template: np.ndarray,
    shapedirs: np.ndarray,
) -> str:
    """How far people's skirts are from what their betas say."""
    betas = body_betas(body, shapes)
    predicted = template + np.einsum("vcs,ns->nvc", shapedirs, betas)
    return summary(errors_mm(predicted, skirts))
