"""The recipe of the built-in body, from MakeHuman's files to SMPL's arrays, stage by stage."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from meshreg.body.assets import BodyData
from meshreg.body.bake.keypoints import (
    PosableShapes,
    fit_keypoint_rows,
    joint_set_regressors,
    posed_bodies,
)
from meshreg.body.bake.makehuman import MakeHuman, find_assets, load_makehuman
from meshreg.body.bake.population import mesh_volume, sample_adults
from meshreg.body.bake.posedirs import fit_posedirs, wanted_change
from meshreg.body.bake.poses import sample_poses
from meshreg.body.bake.regressors import Surface, apply_regressor, errors_mm, fit_joint_regressor
from meshreg.body.bake.rig import (
    MIRRORED_JOINT,
    PARENTS,
    dominant_joint,
    joint_weights,
    marked_joints,
    skin_weights,
)
from meshreg.body.bake.shape_space import (
    ShapeSpace,
    fit_shape_space,
    mirrored,
    symmetric_shapes,
    vertex_areas,
)
from meshreg.body.bake.skinning import Skin, linear_blend
from meshreg.body.bake.topology import Topology, build_topology
from meshreg.body.bake.tpose import TPose
from meshreg.body.bake.traits import Traits

NUM_PEOPLE = 1200
NUM_MARKED = 300  # people whose marked joints settle where joints sit in the surface
NUM_FITTED = 400  # people that the joint regressor is fitted to; the last quarter is held out
CHUNK = 50
LICENCE = "CC0 1.0: made from MakeHuman's CC0 base mesh, targets and rig; free for any use."

Report = Callable[[str], None]


def bake(assets: Path | None, seed: int, report: Report) -> BodyData:
    """Make the built-in body; the report is told how each stage went."""
    say = timed(report)
    folder, origin = find_assets(assets)
    human = load_makehuman(folder)
    say(f"read {len(human.targets)} targets from {origin}")

    coarse_weights = joint_weights(human)
    topology = build_topology(human, coarse_weights)
    say(f"simplified the mesh to {len(topology.source)} vertices, {len(topology.faces)} faces")

    rng = np.random.default_rng(seed)
    traits, heights, bmi = sample_adults(human, topology, NUM_PEOPLE, rng)
    say(
        f"drew {NUM_PEOPLE} adults: {heights.mean():.3f} +- {heights.std():.3f} m, "
        f"body mass index {bmi.mean():.1f} +- {bmi.std():.1f}"
    )

    weights = coarse_weights[topology.source]
    a_pose_regressor = anchor_joints(human, topology, traits, weights, rng)
    shapes, joints = rest_shapes(human, topology, traits, a_pose_regressor)
    say("put them in the T-pose")

    surface = Surface(shapes.mean(0).astype(np.float64), weights, topology.mirror)
    J_regressor = fit_joint_regressor(shapes[:NUM_FITTED], joints[:NUM_FITTED], surface, rng)
    held_out = slice(3 * NUM_PEOPLE // 4, None)
    error = errors_mm(apply_regressor(J_regressor, shapes[held_out]), joints[held_out])
    say(f"fitted the joint regressor: {summary(error)} on people held out")

    shapes -= apply_regressor(J_regressor[:1], shapes).astype(
        np.float32
    )  # the pelvis is the origin
    space = fit_shape_space(shapes, topology.faces, topology.mirror)
    error = shape_residual(space, shapes, topology)
    say(f"explained {space.explained.cumsum().round(3)} of the variance; {summary(error)} is left")

    weights = skin_weights(weights, topology.faces, space.mean, topology.mirror)
    skin = Skin(space.mean, J_regressor @ space.mean, weights, PARENTS)
    posedirs = fit_posedirs(skin, topology.mirror, rng)
    say(f"fitted pose correctives: {posedirs_summary(skin, posedirs, topology, seed + 1)}")

    posable = PosableShapes(space, J_regressor, weights, posedirs, PARENTS)
    rows = fit_keypoint_rows(posable, Surface(space.mean, weights, topology.mirror), rng)
    say(f"fitted keypoint rows, mean/max mm: {keypoint_summary(posable, rows, seed + 2)}")

    return BodyData(
        name="builtin",
        licence=LICENCE,
        recipe=f"`meshreg models bake` from the MakeHuman files of {origin}, seed {seed}",
        v_template=space.mean.astype(np.float32),
        faces=topology.faces,
        shapedirs=space.directions.astype(np.float32),
        posedirs=posedirs.astype(np.float32),
        J_regressor=J_regressor.astype(np.float32),
        weights=weights.astype(np.float32),
        parents=PARENTS,
        uv=topology.uv.astype(np.float32),
        uv_faces=topology.uv_faces,
        vertex_part=dominant_joint(weights, topology.mirror),
        mirror=topology.mirror,
        regressors=joint_set_regressors(rows),
    )


def anchor_joints(
    human: MakeHuman,
    topology: Topology,
    traits: Traits,
    weights: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """A joint regressor for MakeHuman's A-pose.

    MakeHuman's marks shift against the skin from person to person, by centimetres in the spine.
    Points regressed from the skin do not, so they replace the marks from here on.
    """
    chosen = human.shapes(human.coefficients(traits.take(np.arange(NUM_MARKED))))
    vertices = chosen[:, topology.source]
    surface = Surface(vertices.mean(0).astype(np.float64), weights, topology.mirror)
    return fit_joint_regressor(vertices, marked_joints(human, chosen), surface, rng)


def rest_shapes(
    human: MakeHuman, topology: Topology, traits: Traits, a_pose_regressor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Everyone's vertices and joints in the T-pose, symmetric, the pelvis at the origin."""
    to_tpose = TPose(human)
    coefficients = human.coefficients(traits)
    shapes = np.empty((len(traits), len(topology.source), 3), np.float32)
    joints = np.empty((len(traits), len(PARENTS), 3))
    for start in range(0, len(traits), CHUNK):
        part = slice(start, start + CHUNK)
        people = human.shapes(coefficients[part])
        anchored = apply_regressor(a_pose_regressor, people[:, topology.source])
        posed, posed_joints = to_tpose(people, anchored, topology.source)
        shapes[part] = symmetric_shapes(posed, topology.mirror)
        joints[part] = 0.5 * (posed_joints + mirrored(posed_joints, MIRRORED_JOINT))
    pelvis = joints[:, :1].copy()
    return shapes - pelvis.astype(np.float32), joints - pelvis


def timed(report: Report) -> Report:
    """A report that begins each line with the seconds since the last one."""
    last = time.perf_counter()

    def say(line: str) -> None:
        nonlocal last
        now = time.perf_counter()
        report(f"[{now - last:5.1f} s] {line}")
        last = now

    return say


def summary(error_mm: np.ndarray) -> str:
    """Mean, 99th percentile and maximum of errors."""
    high = np.percentile(error_mm, 99)
    return f"mean {error_mm.mean():.2f}, p99 {high:.2f}, max {error_mm.max():.2f} mm"


def shape_residual(space: ShapeSpace, shapes: np.ndarray, topology: Topology) -> np.ndarray:
    """What the shape space cannot express of some of the people, per vertex."""
    some = shapes[::6]
    betas = space.project(some, vertex_areas(space.mean, topology.faces))
    return errors_mm(space.mean + np.einsum("vcs,ns->nvc", space.directions, betas), some)


def posedirs_summary(skin: Skin, posedirs: np.ndarray, topology: Topology, seed: int) -> str:
    """How far skinning is from its target without and with correctives, on new poses."""
    poses = sample_poses(60, np.random.default_rng(seed), sparse=0.0)
    plain, corrected = linear_blend(skin, poses), linear_blend(skin, poses, posedirs)
    target = plain + wanted_change(skin, poses)
    before, after = errors_mm(plain, target), errors_mm(corrected, target)
    rest = mesh_volume(skin.vertices, topology.faces)
    volumes = [
        mesh_volume(posed, topology.faces).mean() / rest for posed in (plain, corrected, target)
    ]
    return (
        f"gap {before.mean():.2f} -> {after.mean():.2f} mm, where above 5 mm "
        f"{before[before > 5].mean():.1f} -> {after[before > 5].mean():.1f}; volume kept "
        "{:.3f} -> {:.3f} (aim {:.3f})".format(*volumes)
    )


def keypoint_summary(posable: PosableShapes, rows: dict[str, np.ndarray], seed: int) -> str:
    """The error of each keypoint row on new posed people."""
    bodies, points = posed_bodies(posable, 80, np.random.default_rng(seed))
    parts = []
    for name, expected in points.items():
        error = errors_mm(rows[name] @ bodies, expected)
        parts.append(f"{name} {error.mean():.1f}/{error.max():.1f}")
    return ", ".join(parts)
