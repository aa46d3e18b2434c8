"""Spine, thorax, jaw and head of Human3.6M out of COCO's joints: fit the rules, and measure them.

Run: `python benchmarks/central_joints.py MOTION.npz [--write] [--page docs/lifting.md]`. Bodies
that move as the file says are seen by random cameras; COCO's joints get a detector's errors.
`--write` stores the rules that are fitted; without it those that are stored are measured. Subjects
5, 14 and 86 are for measuring only, and subject 0, unknown people, is left out.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.body.smpl import load_body
from meshreg.data.central_joints import GROUPS, RULES_FILE, Rule, central_joints, grouped
from meshreg.data.chance import chance
from meshreg.data.detector_noise import detected
from meshreg.data.lifting_cameras import random_views
from meshreg.data.lifting_motion import WorldClips, choose_subjects, clip_boxes, world_clips
from meshreg.data.lifting_settings import CLEAN, TYPICAL, CameraSettings
from meshreg.data.motion_files import read_motion
from meshreg.files import written_whole

BEGIN, END = "<!-- made by benchmarks/central_joints.py -->", "<!-- end of central_joints -->"
HELD_OUT, UNKNOWN = (5, 14, 86), (0,)
COCO = skeleton("coco17")
CENTRAL = ("spine_h36m", "thorax", "jaw_h36m", "head_h36m")
# Parts of the face that may be all that is seen of it, the most telling first.
FACES = (("nose", "eyes", "ears"), ("nose", "eyes"), ("nose",), ("ears",), ())
TRUNK = ("shoulders", "hips")
# How a face turns tells nothing about the spine that holds for people who were not in the fit.
FROM_TRUNK = ("spine_h36m",)
TREMBLE = replace(TYPICAL, outliers=0.0, missed=0.0)  # such errors would only make rules timid
VIEWS = 3
STEP = 3  # of the frames; neighbours are alike


@dataclass(frozen=True, eq=False)
class Seen:
    """Frames of people, by their joints in the picture."""

    coco_px: Float[Tensor, "N 17 2"]  # as detected
    central_px: Float[Tensor, "N 4 2"]  # as they are
    mm_per_px: Float[Tensor, " N"]  # at the depth of the person


def both_sets(motion: Path, only: tuple[int, ...] | None, *, shapes: int) -> WorldClips:
    """COCO's joints and the four of Human3.6M's in the middle of the body, in the world."""
    data = load_body().data
    coco, h36m = data.regressors["coco17"], data.regressors["h36m17"]
    rows = np.concatenate([coco, h36m[skeleton("h36m17").index(*CENTRAL)]])
    names = COCO.joints + CENTRAL
    regressor = JointRegressor(
        rows=torch.from_numpy(rows),
        skeleton=Skeleton("coco17 and middle", names, (-1,) * len(names)),
        topology_hash=data.topology_hash,
    )
    moving = read_motion(motion)
    without = UNKNOWN if only else UNKNOWN + HELD_OUT
    chosen = choose_subjects(moving, only=only, without=without)
    return world_clips(moving, load_body(), regressor, clips=chosen, shapes=shapes)


def seen(clips: WorldClips, *, noisy: bool) -> Seen:
    """Every third frame from some cameras each."""
    parts = list(_views(clips, noisy=noisy))
    return Seen(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))


def _views(clips: WorldClips, *, noisy: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    boxes, noise = clip_boxes(clips), TREMBLE if noisy else CLEAN
    for number in range(len(clips)):
        world = clips.joints_world[clips.starts[number] : clips.ends[number]][None]
        for view in range(VIEWS):
            generator = chance(7, number, view)
            low, high = boxes[number : number + 1].unbind(1)
            camera = random_views(low, high, generator, CameraSettings())
            cam = camera.to_camera(world)
            px = camera.project(cam)
            coco = detected(px[:, :, : len(COCO)], COCO, generator, noise)
            depth = cam[0, :, :, 2].mean(1)
            parts = coco[0], px[0, :, len(COCO) :], 1000 * depth / camera.focal_px
            yield tuple(part[::STEP] for part in parts)  # type: ignore[misc]


def groups_of(coco_px: Float[Tensor, "N 17 2"]) -> dict[str, Float[Tensor, "N 2"]]:
    """The nose, and the middles of eyes, ears, shoulders and hips."""
    points = {name: coco_px[:, place].numpy() for place, name in enumerate(COCO.joints)}
    ones = dict.fromkeys(points, np.ones(len(coco_px)))
    found, _ = grouped(points, ones)
    return {name: torch.from_numpy(found[name]) for name in GROUPS}


def fitted(people: Seen) -> list[Rule]:
    """For each way to see a face the weights with the least squared error, in millimetres."""
    groups = groups_of(people.coco_px)
    scale = people.mm_per_px[:, None]
    # Weights sum to one: all is measured from the hips.
    columns = {
        name: ((points - groups["hips"]) * scale).flatten().double()
        for name, points in groups.items()
    }
    wanted = (people.central_px - groups["hips"][:, None]) * scale[:, None]
    right = dict(zip(CENTRAL, wanted.double().transpose(0, 1).flatten(1), strict=True))

    def weights(joint: str, face: tuple[str, ...]) -> dict[str, float]:
        names = TRUNK if joint in FROM_TRUNK else (*face, *TRUNK)
        matrix = torch.stack([columns[name] for name in names[:-1]], 1)
        found = torch.linalg.lstsq(matrix, right[joint][:, None]).solution[:, 0]
        shares = [round(share, 3) for share in found.tolist()]
        return dict(zip(names, [*shares, round(1 - sum(shares), 3)], strict=True))

    return [Rule(face, {joint: weights(joint, face) for joint in CENTRAL}) for face in FACES]


def write_rules(rules: list[Rule], path: Path) -> None:
    record = {
        "about": "Joints of h36m17 as sums of groups of COCO's joints: weights by benchmarks/"
        "central_joints.py, for each way to see a face, the first that applies.",
        "rules": [{"seen": rule.seen, "weights": rule.weights} for rule in rules],
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


# --- measuring ------------------------------------------------------------------------------------
def by_rules(
    coco_px: Float[Tensor, "N 17 2"], face: tuple[str, ...]
) -> dict[str, Float[Tensor, "N 2"]]:
    """What the stored rules say if only this much of the face is seen."""
    points = {name: coco_px[:, place].numpy() for place, name in enumerate(COCO.joints)}
    shown = {n for group in (*face, "shoulders", "hips") for n in GROUPS[group]}
    confidence = {name: np.full(len(coco_px), float(name in shown)) for name in points}
    found, sure, _ = central_joints(points, confidence)
    assert all(values.all() for values in sure.values())
    return {name: torch.from_numpy(found[name]) for name in CENTRAL}


def by_hot(coco_px: Float[Tensor, "N 17 2"]) -> dict[str, Float[Tensor, "N 2"]]:
    """The rule of HoT's authors (Li et al. 2024) for the same joints."""
    nose, eyes, ears, shoulders, hips = groups_of(coco_px).values()
    up = eyes[:, 1] - nose[:, 1]
    face_x = (eyes[:, 0] + ears[:, 0]) / 2
    thorax = shoulders + (nose - shoulders) / 3
    spine = (shoulders + hips) / 2
    spine_x = spine[:, 0] + 2 * (spine[:, 0] - (hips[:, 0] + thorax[:, 0]) / 2)
    return {
        "spine_h36m": torch.stack([spine_x, spine[:, 1]], 1),
        "thorax": torch.stack([thorax[:, 0], thorax[:, 1] - up * 2 / 3], 1),
        "jaw_h36m": nose + (shoulders - nose) / 4,
        "head_h36m": torch.stack([face_x, eyes[:, 1] + up], 1),
    }


def errors_mm(
    found: dict[str, Float[Tensor, "N 2"]], people: Seen
) -> dict[str, Float[Tensor, " N"]]:
    """Distances in the picture, in millimetres at the depth of the person."""
    return {
        name: (found[name] - people.central_px[:, place]).norm(dim=-1) * people.mm_per_px
        for place, name in enumerate(CENTRAL)
    }


def table(motion: Path) -> list[str]:
    """Mean errors on people who had no part in the fit, as Markdown."""
    clips = both_sets(motion, HELD_OUT, shapes=2)
    lines = ["| rule | joints | " + " | ".join(CENTRAL) + " |", "|---|---|" + "---|" * len(CENTRAL)]
    for noisy in (False, True):
        people, kind = seen(clips, noisy=noisy), "as detected" if noisy else "true"
        rows = {"HoT's authors": by_hot(people.coco_px)}
        for face in FACES if noisy else FACES[:1]:
            what = ", ".join(face) if face else "no face"
            rows[f"ours: {what}"] = by_rules(people.coco_px, face)
        for name, found in rows.items():
            errors = errors_mm(found, people)
            cells = [f"{float(errors[joint].mean()):.0f}" for joint in CENTRAL]
            lines.append(f"| {name} | {kind} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--write", action="store_true", help="fit, and store the rules")
    parser.add_argument("--page", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    if args.write:
        write_rules(fitted(seen(both_sets(args.motion, None, shapes=3), noisy=True)), RULES_FILE)
    text = "\n".join(table(args.motion))
    print(text)
    if args.page:
        write_part(args.page, text, BEGIN, END)


if __name__ == "__main__":
    main()
