"""How exact turned cameras, their bodies and inverse kinematics are, and what they cost.

Run: `python benchmarks/perspective.py [--fixtures FOLDER] [--json FILE] [--write PAGE]`.
The page is docs/perspective.md. The folder, which is not part of the repository, holds what the
released code of PersPose gives (pr.pt). Errors are the largest of all cases, in double precision
unless a title says otherwise.
Times are processor times of one thread, the best of several repetitions.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import roma
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.body.inverse_kinematics import SolvedPose, solve_pose
from meshreg.body.kinematics import joint_positions, offsets_of, world_rotations
from meshreg.body.ortho_twists import LEAVES, pose_twists
from meshreg.body.rest_skeleton import PARENTS, RestSkeleton
from meshreg.body.shape_from_joints import betas_from_bones, searched_first_beta
from meshreg.body.smpl import load_body
from meshreg.files import written_whole
from meshreg.geometry.cameras import project
from meshreg.geometry.joint_decoding import back_projected, joint_densities, mean_focal
from meshreg.geometry.perspective import (
    homography,
    move_pixels,
    pixel_rays,
    turn_points,
    turn_pose,
    turn_towards,
    turn_transl,
)
from meshreg.geometry.turned_crop import MAX_ANGLE, crop_towards
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, build_perspose

BEGIN, END = "<!-- made by benchmarks/perspective.py -->", "<!-- end -->"
DOUBLE = torch.float64
CAMERAS, POINTS, BODIES = 10_000, 20, 2_000
FOVS = (30.0, 100.0)  # degrees, across the width
SIZE = (1080, 1920)  # height and width of the pictures
NOISE = 0.01  # metres per axis that seen joints are off, where they are
STATURES = ("given", "search", "bones")  # where the first beta comes from
Table = dict[str, float]


# --- turned cameras -------------------------------------------------------------------------------
def cameras(number: int) -> Tensor:
    """Wide to narrow, principal points anywhere in the middle half, pixels that are no squares."""
    low, high = (math.radians(fov) / 2 for fov in FOVS)
    half = low + (high - low) * torch.rand(number, dtype=DOUBLE)
    K = torch.zeros(number, 3, 3, dtype=DOUBLE)
    K[:, 0, 0] = SIZE[1] / 2 / half.tan()
    K[:, 1, 1] = K[:, 0, 0] * (0.9 + 0.2 * torch.rand(number, dtype=DOUBLE))
    middle = torch.tensor([SIZE[1], SIZE[0]], dtype=DOUBLE)
    K[:, :2, 2] = middle * (0.25 + 0.5 * torch.rand(number, 2, dtype=DOUBLE))
    K[:, 2, 2] = 1
    return K


def pixels(*shape: int) -> Tensor:
    return torch.rand(*shape, 2, dtype=DOUBLE) * torch.tensor([SIZE[1], SIZE[0]], dtype=DOUBLE)


def homography_error(K: Tensor, R: Tensor, points_px: Tensor) -> float:
    """Between moved pixels and the projections of turned points, pixels; those in view count."""
    depth = 1 + 9 * torch.rand(points_px.shape[:-1], dtype=DOUBLE)
    points = pixel_rays(points_px, K) * depth[..., None]
    turned = turn_points(R, points)
    angle = torch.atan2(turned[..., :2].norm(dim=-1), turned[..., 2])
    error = (move_pixels(points_px, homography(R, K)) - project(turned, K)).norm(dim=-1)
    return float(error[angle < MAX_ANGLE].max())


def rotation_rows() -> Table:
    K, subject, points = cameras(CAMERAS), pixels(CAMERAS), pixels(CAMERAS, POINTS)
    eye = torch.eye(3, dtype=DOUBLE)
    rows: Table = {}
    for how, name in (("minimal", "smallest turn"), ("pcl", "turn of PCL")):
        R = turn_towards(subject, K, how=how)  # type: ignore[arg-type]
        rows[f"homography against rotated projection, {name}, px"] = homography_error(K, R, points)
        arrived = move_pixels(subject[:, None], homography(R, K))[:, 0]
        rows[f"subject to the principal point, {name}, px"] = largest(arrived - K[:, :2, 2])
        rows[f"R R^T to the identity, {name}"] = largest(R @ R.mT - eye)
        near = K[:, :2, 2] + 1e-3
        R_near = turn_towards(near, K, how=how)  # type: ignore[arg-type]
        arrived = move_pixels(near[:, None], homography(R_near, K))[:, 0]
        rows[f"the same 0.001 px off the middle, {name}, px"] = largest(arrived - K[:, :2, 2])
    half = 20 + 100 * torch.rand(CAMERAS, 2, dtype=DOUBLE)
    crop = crop_towards(torch.cat([subject - half, subject + half], 1), K, 256)
    inner = (
        subject[:, None] + (2 * torch.rand(CAMERAS, POINTS, 2, dtype=DOUBLE) - 1) * half[:, None]
    )
    rows["pixels of a crop there and back, px"] = largest(
        crop.pixels_back(crop.pixels(inner)) - inner
    )
    return rows


def body_rows() -> Table:
    """SMPL's parameters under turns, and the bodies that they make."""
    body = load_body().double()
    number = 64
    K, subject = cameras(number), pixels(number)
    R = turn_towards(subject, K)
    p = people(RestSkeleton.of(body), number)
    pelvis = p["rest"][:, 0]
    pose, transl = turn_pose(R, p["pose"]), turn_transl(R, p["transl"], pelvis)
    before = body(p["betas"], p["pose"], p["transl"]).vertices
    after = body(p["betas"], pose, transl).vertices
    back = turn_transl(R.mT, transl, pelvis)
    return {
        "body of turned parameters against the turned body, m": largest(
            after - turn_points(R, before)
        ),
        "rotations there and back": largest(turn_pose(R.mT, pose) - p["pose"]),
        "translations there and back, m": largest(back - p["transl"]),
    }


def fixture_rows(folder: Path) -> Table:
    """Against what the released code gave; its rotations are off by 1e-8 over their angle."""
    c = torch.load(folder / "pr.pt", weights_only=True)["cases"]
    rows = (c["pr_applied"] == 1) & (c["group"] != 3)
    c = {name: values[rows] for name, values in c.items()}
    R = turn_towards(c["bbox_center"], c["K"], target_px=c["pr_target"])
    error = (R - c["pr_R"]).abs().amax((1, 2))
    angle = roma.rotmat_to_rotvec(R).norm(dim=-1)
    body = c["kind"] == 1
    vertices = c["in_smpl_vertices"][body]
    seen = project(vertices, c["K"][body])
    exact = move_pixels(seen, homography(R, c["K"])[body])
    there = project(turn_points(R[body], vertices), c["K"][body])
    released = project(turn_points(c["pr_R"][body], vertices), c["K"][body])
    return {
        "cases": float(len(R)),
        "rotation": float(error.max()),
        "rotation, in units of 1e-8 over the angle": float((error * angle).max() * 1e8),
        "homography against rotated projections of the bodies, px": largest(exact - there),
        "our projections against the released ones, px": largest(there - released),
    }


# --- joints to bodies -----------------------------------------------------------------------------
def people(skeleton: RestSkeleton, number: int) -> dict[str, Tensor]:
    """Bodies in random poses, anywhere before the camera, turned in every direction."""
    betas = torch.randn(number, skeleton.num_betas, dtype=DOUBLE)
    pose = roma.rotvec_to_rotmat(0.6 * torch.randn(number, 24, 3, dtype=DOUBLE))
    pose[:, 0] = roma.rotvec_to_rotmat(3 * torch.randn(number, 3, dtype=DOUBLE))
    transl = torch.randn(number, 3, dtype=DOUBLE) + torch.tensor([0.0, 0.0, 4.0])
    rest = skeleton.joints(betas)
    known = {"betas": betas, "pose": pose, "transl": transl, "rest": rest}
    return known | {
        "joints": joints_of(rest, pose, transl),
        "twists": pose_twists(pose, rest),
        "leaves": pose[:, list(LEAVES)],
    }


def joints_of(rest: Tensor, pose: Tensor, transl: Tensor) -> Tensor:
    offsets = offsets_of(rest, PARENTS)
    offsets[:, 0] += transl
    return joint_positions(world_rotations(pose, PARENTS), offsets, PARENTS)


def solved(skeleton: RestSkeleton, p: dict[str, Tensor], stature: str) -> tuple[Tensor, SolvedPose]:
    """Betas and pose, the first beta given, searched, or from the lengths of bones."""
    betas = p["betas"]
    if stature == "search":
        betas = searched_first_beta(skeleton, p["joints"], betas)
    elif stature == "bones":
        betas = betas_from_bones(skeleton, p["joints"], betas, noise=p.get("noise", 0.0))  # type: ignore[arg-type]
    found = solve_pose(skeleton, p["joints"], betas, twists=p["twists"], leaf_rotmat=p["leaves"])
    return betas, found


def kinematics_rows(skeleton: RestSkeleton, dtype: torch.dtype) -> Table:
    p = {name: value.to(dtype) for name, value in people(skeleton, BODIES).items()}
    _, found = solved(skeleton, p, "given")
    angle = roma.rotmat_geodesic_distance(found.pose_rotmat.double(), p["pose"].double())
    again = joints_of(p["rest"], found.pose_rotmat, found.transl)
    return {
        "rotations, rad": float(angle.max()),
        "joints, mm": 1000 * float((again - p["joints"]).norm(dim=-1).max()),
        "translation, mm": 1000 * float((found.transl - p["transl"]).norm(dim=-1).max()),
    }


def noisy_rows(skeleton: RestSkeleton) -> Table:
    """Mean errors where seen joints are off by a centimetre per axis."""
    p = people(skeleton, BODIES)
    true = p["joints"]
    p["joints"] = true + NOISE * torch.randn_like(true)
    rows: Table = {}
    for stature in STATURES:
        betas, found = solved(skeleton, p | {"noise": NOISE}, stature)  # type: ignore[operator,dict-item]
        again = joints_of(skeleton.joints(betas), found.pose_rotmat, found.transl)
        rows[f"joints, first beta: {stature}, mm"] = 1000 * float(
            (again - true).norm(dim=-1).mean()
        )
        rows[f"first beta: {stature}"] = float((betas - p["betas"])[:, 0].abs().mean())
    return rows


def decoding_rows() -> Table:
    """Exact pixels, depths and densities give the joints back."""
    number = 1_000
    K = cameras(number)
    joints = torch.randn(number, 25, 3, dtype=DOUBLE) * 0.4 + torch.tensor([0.5, 0.3, 4.0])
    depth = joints[..., 2] - joints[:, :1, 2]
    rho0 = joints[:, 0, 2] / mean_focal(K)
    found = back_projected(project(joints, K), joint_densities(depth, rho0, K), K)
    return {"joints from exact pixels, depths and density, m": largest(found - joints)}


# --- costs ----------------------------------------------------------------------------------------
def seconds(job: Callable[[], object], repeats: int = 5) -> float:
    """The fastest repetition, in processor time."""
    job()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return min(times)


def speed_rows(skeleton: RestSkeleton) -> Table:
    p = {name: value.float() for name, value in people(skeleton, 1_000).items()}
    small = skeleton.like(p["joints"])
    words = {"given": "given", "search": "searched among 40", "bones": "from the bones"}
    return {
        f"first beta {words[stature]}": 1_000 / seconds(lambda s=stature: solved(small, p, s))  # type: ignore[misc]
        for stature in STATURES
    }


def cost_rows() -> Table:
    """What turning and telling cost, in parts of what they are added to."""
    picture = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    K = cameras(8)
    K[:, 1, 1] = K[:, 0, 0]
    middle = torch.rand(8, 2, dtype=DOUBLE) * 600 + 300
    boxes = torch.cat([middle - 200, middle + 200], 1)
    cut, turned = (crop_towards(boxes, K, 256, how=how) for how in ("none", "minimal"))  # type: ignore[arg-type]
    rows = {
        "a turned crop of 256 px, in plain ones": seconds(lambda: turned.pictures(picture))
        / seconds(lambda: cut.pictures(picture))
    }
    for name in ("perspose_small", "perspose_hrnet_w18"):
        model = build_perspose(PERSPOSE_ARCHITECTURES[name]).eval()
        size = model.image_size
        image, K_crop = torch.rand(2, 3, size, size), crop_towards(boxes[:2], K[:2], size).K.float()
        with torch.no_grad():
            whole = seconds(lambda: model(image, K_crop))  # noqa: B023
            told = seconds(lambda: _encoding(model, K_crop))  # noqa: B023
        rows[f"perspective encoding, per cent of {name}"] = 100 * told / whole
    return rows


def _encoding(model: torch.nn.Module, K: Tensor) -> Tensor:
    from meshreg.geometry.ray_map import ray_map
    from meshreg.models.perspose_trunks import STRIDE

    size = model.image_size
    assert isinstance(size, int) and isinstance(model.encoding, torch.nn.Module)
    return model.encoding(ray_map(K, (size, size), (size // STRIDE, size // STRIDE)))


def count_rows() -> Table:
    body = load_body()
    body.num_betas = 11
    for name in ("shapedirs", "joints_shapedirs"):  # the released network has 11 betas
        setattr(body, name, torch.nn.functional.pad(getattr(body, name), (0, 1)))
    model = build_perspose(PERSPOSE_ARCHITECTURES["perspose_released"], body=body)
    counts = {"PersPose with HRNet-W48": float(sum(p.numel() for p in model.parameters()))}
    for name in ("perspose_hrnet_w18", "perspose_resnet18", "perspose_small"):
        small = build_perspose(PERSPOSE_ARCHITECTURES[name])
        counts[name] = float(sum(p.numel() for p in small.parameters()))
    return counts


# --- report ---------------------------------------------------------------------------------------
def largest(error: Tensor) -> float:
    return float(error.norm(dim=-1).max())


def main(fixtures: Path | None, page: Path | None, out: Path | None) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    skeleton = RestSkeleton.of(load_body()).like(torch.zeros((), dtype=DOUBLE))
    sections: dict[str, Table] = {
        f"Turned cameras: largest error of {CAMERAS:,}": rotation_rows(),
        "Bodies under turns: largest error of 64": body_rows(),
        "From pixels to joints: largest error of 1,000": decoding_rows(),
        f"Inverse kinematics: largest error of {BODIES:,}, betas given": kinematics_rows(
            skeleton, DOUBLE
        ),
        "The same in single precision": kinematics_rows(skeleton, torch.float32),
        f"Joints off by {NOISE * 1000:.0f} mm per axis: mean errors": noisy_rows(skeleton),
        "Bodies a second, one thread, in batches of 1,000": speed_rows(skeleton),
        "Costs": cost_rows(),
        "Parameters": count_rows(),
    }
    if fixtures is not None:
        sections["Against the released code: largest error"] = fixture_rows(fixtures)
    text = "\n\n".join(f"### {title}\n\n{_table(rows)}" for title, rows in sections.items())
    print(text)
    if out is not None:
        with written_whole(out) as temporary:
            temporary.write_text(json.dumps(sections, indent=1) + "\n", "utf-8")
    if page is not None:
        write_part(page, text, BEGIN, END)


def _table(rows: Table) -> str:
    lines = [f"| {name} | {_number(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.2g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, help="folder with pr.pt of the released code")
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    main(arguments.fixtures, arguments.write, arguments.json)
