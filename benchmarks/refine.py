"""Does a fit improve a prediction, and does it help to know how sure the prediction is?

Measure: `python benchmarks/refine.py measure --data BENCH [--skip 0] [--count 200] --evidence maps
--out RUN/maps.json`, and again with `--evidence detector`. Then a table of both:
`python benchmarks/refine.py table RUN/maps.json RUN/detector.json [--write docs/PAGE.md]`.

The evidence in 2D is where the network itself saw the 45 joints ("maps"), or COCO's 17 joints with
the noise of a detector, those out of the picture or behind other things left out ("detector").
Everybody has at least six of the latter.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import meshreg
from benchmarks.pages import write_part
from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body
from meshreg.cli.fit import body_fitter
from meshreg.data.detector_noise import detected
from meshreg.data.keypoints import Keypoints
from meshreg.data.lifting_settings import NoiseSettings
from meshreg.data.resized import resized_picture
from meshreg.data.sample import Batch, stack
from meshreg.data.shard_reader import ShardReader
from meshreg.fit.settings import FitSettings
from meshreg.fit.smplify import BodyFitter
from meshreg.fit.trust import TrustingFitter, TrustSettings
from meshreg.geometry.cameras import project
from meshreg.losses.priors import load_pose_prior
from meshreg.metrics import bootstrap_interval, pa_mpjpe, pve, root_aligned_mpjpe
from meshreg.models.hmr import HMR
from meshreg.predictor.person import Person
from meshreg.predictor.refine import refine, refine_by_trust
from meshreg.predictor.trusting import seen_joints

BEGIN, END = "<!-- made by benchmarks/refine.py -->", "<!-- end of refine.py -->"
FEWEST = 6
CHUNK = 25  # people at once
NOISE = NoiseSettings(clean=0.0, tremble=0.012, memory=0.0, outliers=0.03, missed=0.0, run=1.0)
COCO, OWN = SKELETONS["coco17"], SKELETONS["smplx45"]
MEASURES = ("MPJPE mm", "PA-MPJPE mm", "PVE mm", "2D px")
ARMS = {
    "prediction": "plain prediction",
    "fit": "plain fit, which searches",
    "start": "fit that begins at the prediction",
    "equal": "refined, everything trusted equally",
    "trust": "refined by calibrated trust",
}
EVIDENCE = {
    "maps": "where the network saw the joints",
    "detector": "joints with a detector's noise",
}


def everybody(folder: Path, skip: int, count: int) -> Batch:
    """Some people of a folder."""
    return stack(list(islice(ShardReader(folder), skip, skip + count)))


def predicted(model: HMR, batch: Batch) -> list[Person]:
    """The network's answers, in the cameras of the full pictures."""
    people: list[Person] = []
    for rows in torch.arange(len(batch)).split(50):
        image = resized_picture(batch.image[rows], model.image_size)
        K, box = batch.K_full[rows], batch.box[rows]
        with torch.inference_mode():
            found = model(image, K_full=K, box=box)
            posed = model.mesh(found)
            seen = seen_joints(model, found, posed.joints, K_full=K, box=box)
        columns = (found.betas, found.pose_rotmat, found.transl, posed.vertices, posed.joints, K)
        for number, row, words in zip(rows, zip(*columns, strict=True), seen, strict=True):
            betas, pose, transl, vertices, joints, own_K = (x.numpy().copy() for x in row)
            height, width = batch.full_size[number].tolist()
            people.append(
                Person(
                    body=model.body.data.name,
                    topology_hash=model.body.topology_hash,
                    betas=betas,
                    pose_rotmat=pose,
                    transl=transl,
                    vertices_cam=vertices,
                    joints_cam=joints,
                    K=own_K,
                    K_source="benchmark",
                    image_size=(height, width),
                    box=np.zeros(4, np.float32),
                    score=1.0,
                    seen=words,
                )
            )
    return people


def detector_joints(batch: Batch, body: Body, seed: int) -> list[Keypoints]:
    """COCO's joints as a detector might find them; nothing of joints that nobody sees."""
    points, _ = BodyKeypoints(body, COCO.name)(batch.betas, batch.pose_rotmat, batch.transl)
    px = project(points, batch.K_full)
    noisy = detected(px[:, None], COCO, torch.Generator().manual_seed(seed), NOISE)[:, 0]
    inside = ((px - batch.box[:, None, :2]).abs() < batch.box[:, None, 2:] / 2).all(-1)
    seen = inside & batch.joints_visible[:, OWN.index(*COCO.joints)]
    return [
        Keypoints(COCO.name, np.where(s[:, None], p, 0).astype(np.float32), s.astype(np.float32))
        for p, s in zip(noisy.numpy(), seen.numpy(), strict=True)
    ]


def map_joints_of(person: Person) -> Keypoints:
    """What the network saw, every joint alike."""
    assert person.seen is not None
    return Keypoints(OWN.name, person.seen.points_px, np.ones(len(OWN), np.float32))


def errors(people: list[Person], batch: Batch, body: Body) -> dict[str, Float[Tensor, " N"]]:
    """Every measure of every person; joints are SMPL's 24, moved to the pelvis."""
    joints, vertices = (
        torch.from_numpy(np.stack([getattr(person, name) for person in people]))
        for name in ("joints_cam", "vertices_cam")
    )
    joints, truth = joints[:, :24], batch.joints_cam[:, :24]
    with torch.no_grad():
        mesh = body(batch.betas, batch.pose_rotmat, batch.transl).vertices
    half = batch.box[:, None, 2:] / 2
    shown, true = (project(points, batch.K_full) / half for points in (joints, truth))
    inside = ((true - batch.box[:, None, :2] / half).abs() < 1).all(-1)
    off = (shown - true).norm(dim=-1).clamp_max(2) * 64  # pixels of a picture of 128
    return {
        "MPJPE mm": 1000 * root_aligned_mpjpe(joints, truth),
        "PA-MPJPE mm": 1000 * pa_mpjpe(joints, truth),
        "PVE mm": 1000 * pve(vertices, mesh, joints[:, :1], truth[:, :1]),
        "2D px": (off * inside).sum(1) / inside.sum(1),
    }


# --- the arms -------------------------------------------------------------------------------------
def plain(person: Person, fitter: BodyFitter, keypoints: Keypoints) -> Person:
    """The fit that knows nothing of the prediction."""
    fit = fitter(keypoints, person.camera)
    return person.posed(fitter.body, fit.betas, fit.pose_rotmat, fit.transl)


def by_trust(
    people: list[Person], found: list[Keypoints | None], body: Body, trust: TrustSettings
) -> list[Person]:
    """Refined together."""
    prior, bank = load_pose_prior()
    fitter = TrustingFitter(body=body, prior=prior, bank=bank, trust=trust)
    return refine_by_trust(people, found, fitter)


def with_mean_doubts(people: list[Person]) -> list[Person]:
    """The same people with scales that are the same for everybody and every joint."""
    seen = [person.seen for person in people]
    known = [s for s in seen if s is not None]
    side = np.array([s.points_scale_px.mean() for s in known])
    extent = np.array([np.linalg.norm(np.ptp(s.points_px, axis=0)) for s in known])
    share = float((side / extent).mean())
    across, depth = (
        float(np.mean([getattr(s, n)[1:] for s in known])) for n in ("across", "depth")
    )
    place = float(np.mean([s.place for s in known]))
    flat = [
        replace(
            s,
            points_scale_px=np.full_like(s.points_scale_px, share * size),
            across=np.full_like(s.across, across),
            depth=np.full_like(s.depth, depth),
            place=place,
        )
        for s, size in zip(known, extent, strict=True)
    ]
    return [replace(person, seen=s) for person, s in zip(people, flat, strict=True)]


def measure(args: argparse.Namespace) -> None:
    """Run the arms that were asked for and add what came out to the file."""
    torch.set_num_threads(1)
    model = meshreg.load_model(args.model).model
    assert isinstance(model, HMR)
    body = model.body
    batch = everybody(args.data, args.skip, args.count)
    joints = detector_joints(batch, body, seed=0)
    kept = [n for n, k in enumerate(joints) if k.confidence.sum() >= FEWEST]
    batch = batch[torch.tensor(kept)]
    people = predicted(model, batch)
    by_maps = args.evidence == "maps"
    evidence = [map_joints_of(p) for p in people] if by_maps else [joints[n] for n in kept]
    found: list[Keypoints | None] = [None] * len(people) if by_maps else list(evidence)
    alike, fitter, trust = with_mean_doubts(people), body_fitter(body, FitSettings()), args.trust
    arms: dict[str, Callable[[slice], list[Person]]] = {
        "prediction": lambda some: people[some],
        "trust": lambda some: by_trust(people[some], found[some], body, trust),
        "equal": lambda some: by_trust(alike[some], found[some], body, trust),
        "start": lambda some: [
            refine(p, k, fitter) for p, k in zip(people[some], evidence[some], strict=True)
        ],
        "fit": lambda some: [
            plain(p, fitter, k) for p, k in zip(people[some], evidence[some], strict=True)
        ],
    }
    record = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {"arms": {}}
    record |= {"evidence": args.evidence, "data": args.data.name, "people": len(people)}
    side = batch.image.shape[-1]
    in_picture = (batch.joints_px > -0.5) & (batch.joints_px < side - 0.5)
    record["whole"] = in_picture[:, :24].all(-1).all(-1).tolist()
    for name in args.arms:
        rows = record["arms"][name] = {key: [] for key in (*MEASURES, "s")}
        for begin in range(0, len(people), CHUNK):
            some = slice(begin, begin + CHUNK)
            started = time.process_time()
            after = arms[name](some)
            seconds = (time.process_time() - started) / len(after)
            for key, values in errors(after, batch[some], body).items():
                rows[key] += values.tolist()
            rows["s"] += [seconds] * len(after)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(record), "utf-8")
        print(name, {key: round(float(np.mean(rows[key])), 3) for key in MEASURES}, flush=True)


def table(paths: list[Path]) -> list[str]:
    """One part for each file: means with bootstrap intervals, all people and whole ones."""
    lines: list[str] = []
    for path in paths:
        record = json.loads(path.read_text("utf-8"))
        whole = torch.tensor(record["whole"])
        what = f"{EVIDENCE[record['evidence']]}, {record['people']} people of {record['data']}"
        lines += [f"**{what[0].upper()}{what[1:]}**", ""]
        lines += ["| people | | " + " | ".join(MEASURES) + " |", "|---|---|" + "---|" * 4]
        for title, rows in (("all", torch.ones_like(whole)), ("whole in the picture", whole)):
            for name, words in ARMS.items():
                if name in record["arms"]:
                    arm = record["arms"][name]
                    count = int(rows[: len(arm["s"])].sum())
                    cells = [_cell(arm[key], rows, key) for key in MEASURES]
                    lines.append(f"| {title} ({count}) | {words} | {' | '.join(cells)} |")
        lines += ["", *_differences(record), ""]
    return lines[:-1]


def _cell(values: list[float], rows: Tensor, key: str) -> str:
    interval = bootstrap_interval(torch.tensor(values)[rows[: len(values)]])
    digits = 2 if key == "2D px" else 1
    return f"{interval.mean:.{digits}f} ± {(interval.high - interval.low) / 2:.{digits}f}"


def _differences(record: dict) -> list[str]:
    """How much lower errors are by calibrated trust, person by person."""
    arms, lines = record["arms"], []
    for name in ("prediction", "fit", "start", "equal"):
        if name in arms and "trust" in arms:
            parts = []
            for key in MEASURES:
                other = torch.tensor(arms[name][key])
                gain = torch.tensor(arms["trust"][key])[: len(other)] - other
                i = bootstrap_interval(gain)
                parts.append(f"{key} {i.mean:+.2f} [{i.low:+.2f}, {i.high:+.2f}]")
            lines.append(
                f"- calibrated trust minus {ARMS[name]} ({len(other)} people): {', '.join(parts)}"
            )
    return lines


def times(path: Path) -> str:
    """How long the arms took, compared with calibrated trust; all of one run."""
    arms = json.loads(path.read_text("utf-8"))["arms"]
    unit = float(np.mean(arms["trust"]["s"]))
    parts = [
        f"{words} {np.mean(arms[name]['s']) / unit:.1f}"
        for name, words in ARMS.items()
        if name in arms and name != "prediction"
    ]
    count = len(arms["trust"]["s"])
    what = f"Time a person, compared with calibrated trust ({count} people, one run)"
    return f"{what}: {', '.join(parts)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    one = parts.add_parser("measure")
    one.add_argument("--data", type=Path, required=True, help="folder of `meshreg synth`")
    one.add_argument("--skip", type=int, default=0)
    one.add_argument("--count", type=int, default=200)
    one.add_argument("--evidence", choices=tuple(EVIDENCE), required=True)
    one.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    one.add_argument("--model", type=Path)
    one.add_argument("--out", type=Path, required=True)
    one.set_defaults(act=measure, trust=TrustSettings())
    other = parts.add_parser("table")
    other.add_argument("files", type=Path, nargs="+")
    other.add_argument("--times", type=Path, help="file of one run of all arms on a quiet machine")
    other.add_argument("--write", type=Path, help="page whose marked part is replaced")
    other.set_defaults(act=show)
    args = parser.parse_args()
    args.act(args)


def show(args: argparse.Namespace) -> None:
    """Print the table, and put it into the page."""
    lines = table(args.files) + (["", times(args.times)] if args.times else [])
    text = "\n".join(lines)
    print(text)
    if args.write:
        write_part(args.write, text, BEGIN, END)


if __name__ == "__main__":
    main()
