"""Does the regressor know how wrong it is? Calibrate its doubts, and judge them on other people.

Calibrate, which writes into the header of the model's file:
`python benchmarks/uncertainty.py calibrate MODEL.safetensors --people FOLDER[:COUNT] ...`.
Judge: `python benchmarks/uncertainty.py judge MODEL.safetensors --people BENCH --constants FOLDER
[--write docs/mesh_uncertainty.md]`, which also draws the reliability diagrams. Folders are made by
`meshreg synth`; nobody may be in both.
"""

import argparse
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import meshreg
from benchmarks.pages import write_part
from meshreg.body.skeleton import SKELETONS
from meshreg.data.shard_reader import ShardReader
from meshreg.evaluate.doubts import Observations, calibrate, joined, observe
from meshreg.metrics.reliability import (
    Reliability,
    calibration_error,
    coverage,
    laplace_nll,
    reliability,
)
from meshreg.models.doubts import SIGNS, JointDoubts, write_doubts
from meshreg.models.hmr import HMR

BEGIN, END = "<!-- made by benchmarks/uncertainty.py -->", "<!-- end of uncertainty.py -->"
GROUPS = {
    "trunk": ("hip", "spine1", "spine2", "spine3", "collar", "neck", "shoulder"),
    "head": ("head", "nose", "eye", "ear"),
    "elbows, knees": ("elbow", "knee"),
    "wrists, hands": ("wrist", "hand", "thumb", "index", "middle", "ring", "pinky"),
    "ankles, feet": ("ankle", "foot", "big_toe", "small_toe", "heel"),
}
KINDS = {
    "points": "points of the maps, in the picture (half sides)",
    "points_all": "points of the maps, wherever the joint is (half sides)",
    "seen_depth": "depths of the maps (m)",
    "across": "the body's joints, across (m)",
    "depth": "the body's joints, in depth (m)",
}
COLORS = ("#444444", "#d08500", "#1f77b4")
PANEL, MARGIN = 420, 60


@dataclass(frozen=True, eq=False)
class Claim:
    """Errors of one kind, one row a person, and three claims about their scale."""

    errors: Float[Tensor, "N J D"]
    scales: dict[str, Float[Tensor, "N J"]]  # by who says so
    counts: Tensor  # (N, J) bool

    def of(self, joints: list[int], who: str) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """Errors, and the scales that go with them, of some joints."""
        scale = self.scales[who][:, joints, None].expand_as(self.errors[:, joints])
        counts = self.counts[:, joints, None].expand_as(scale)
        return self.errors[:, joints][counts], scale[counts]


def joints_of(group: tuple[str, ...]) -> list[int]:
    names = SKELETONS["smplx45"].joints
    return [n for n, name in enumerate(names) if any(part in name for part in group)]


def claims(judged: Observations, doubts: JointDoubts, before: Observations) -> dict[str, Claim]:
    """What the network says itself, a constant for each joint, and what the calibration says."""
    own = {name: judged.signs[..., place].exp() for place, name in enumerate(SIGNS[:2])}
    everywhere = torch.ones_like(judged.in_picture)

    def constant(name: str, rows: Tensor | None = None) -> Tensor:
        size = getattr(before, name).abs().mean(-1)
        rows = torch.ones_like(before.in_picture) if rows is None else rows
        mean = (size * rows).sum(0) / rows.sum(0)
        return mean.clamp_min(1e-3).expand(len(judged), -1)

    return {
        "points": Claim(
            judged.points,
            {
                "the network itself": own["spread"],
                "one constant a joint": constant("points", before.in_picture),
                "calibrated": doubts.points,
            },
            judged.in_picture,
        ),
        "points_all": Claim(
            judged.points,
            {
                "the network itself": own["spread"],
                "one constant a joint": constant("points"),
                "calibrated": doubts.points,
            },
            everywhere,
        ),
        "seen_depth": Claim(
            judged.seen_depth,
            {
                "the network itself": own["depth_spread"],
                "one constant a joint": constant("seen_depth"),
            },
            everywhere,
        ),
        "across": Claim(
            judged.across,
            {"one constant a joint": constant("across"), "calibrated": doubts.across},
            everywhere,
        ),
        "depth": Claim(
            judged.depth,
            {
                "the network itself": own["depth_spread"],
                "one constant a joint": constant("depth"),
                "calibrated": doubts.depth,
            },
            everywhere,
        ),
    }


def table(found: dict[str, Claim]) -> list[str]:
    """Likelihoods and reliability of all joints, then likelihoods by group."""
    lines = ["| errors | mean | who says how large | NLL, nats | off the diagonal | within 50 % "]
    lines[0] += "| within 90 % |"
    lines.append("|---|---|---|---|---|---|---|")
    for kind, claim in found.items():
        everyone = list(range(1, claim.errors.shape[1]))  # the pelvis is the origin
        for who in claim.scales:
            error, scale = claim.of(everyone, who)
            lines.append(
                f"| {KINDS[kind]} | {error.abs().mean():.3f} | {who} "
                f"| {laplace_nll(error, scale).mean():.3f} "
                f"| {100 * calibration_error(reliability(error, scale)):.0f} % "
                f"| {100 * coverage(error, scale, 0.5):.0f} % "
                f"| {100 * coverage(error, scale, 0.9):.0f} % |"
            )
    lines += ["", "| NLL, nats | who says how large | " + " | ".join(GROUPS) + " |"]
    lines.append("|---|---|" + "---|" * len(GROUPS))
    for kind, claim in found.items():
        for who in claim.scales:
            pairs = [claim.of(joints_of(group), who) for group in GROUPS.values()]
            cells = [f"{laplace_nll(*pair).mean():.3f}" for pair in pairs]
            lines.append(f"| {KINDS[kind]} | {who} | {' | '.join(cells)} |")
    return lines


# --- the picture ----------------------------------------------------------------------------------
def draw(found: dict[str, Claim], path: Path) -> None:
    """Reliability diagrams side by side, both axes logarithmic."""
    sheet = Image.new("RGB", (PANEL * len(found), PANEL), "white")
    for place, (kind, claim) in enumerate(found.items()):
        everyone = list(range(1, claim.errors.shape[1]))
        curves = {w: reliability(*claim.of(everyone, w), bins=12) for w in claim.scales}
        sheet.paste(_panel(KINDS[kind], curves), (PANEL * place, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _panel(title: str, curves: dict[str, Reliability]) -> Image.Image:
    image = Image.new("RGB", (PANEL, PANEL), "white")
    pen = ImageDraw.Draw(image)
    values = torch.cat([torch.cat([c.predicted, c.found]) for c in curves.values()]).log10()
    low, high = float(values.min()) - 0.08, float(values.max()) + 0.08

    def at(predicted: float, found: float) -> tuple[float, float]:
        share = [(torch.tensor(v).log10().item() - low) / (high - low) for v in (predicted, found)]
        span = PANEL - 1.5 * MARGIN
        return MARGIN + span * share[0], PANEL - MARGIN - span * share[1]

    corners = at(10**low, 10**low), at(10**high, 10**high)
    pen.rectangle((corners[0][0], corners[1][1], corners[1][0], corners[0][1]), outline="#888888")
    pen.line(corners, fill="#bbbbbb")
    for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        if low < torch.tensor(tick).log10() < high:
            x, y = at(tick, tick)
            pen.text((x - 8, PANEL - MARGIN + 6), f"{tick:g}", fill="black")
            pen.text((MARGIN - 30, y - 6), f"{tick:g}", fill="black")
    pen.text((MARGIN, 8), title, fill="black")
    pen.text((PANEL / 2 - 40, PANEL - 28), "predicted scale", fill="black")
    pen.text((4, 22), "mean error", fill="black")
    for number, (who, curve) in enumerate(curves.items()):
        color = COLORS[("the network itself", "one constant a joint", "calibrated").index(who)]
        points = [
            at(*pair) for pair in zip(curve.predicted.tolist(), curve.found.tolist(), strict=True)
        ]
        pen.line(points, fill=color, width=2)
        for x, y in points:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
        pen.text((MARGIN + 10, 40 + 14 * number), who, fill=color)
    return image


# --- the commands ---------------------------------------------------------------------------------
def people(words: list[str], model: HMR) -> Observations:
    """Everybody in folders, or the first COUNT of FOLDER:COUNT."""
    parts = []
    for word in words:
        folder, _, count = word.partition(":")
        parts.append(
            observe(model, islice(ShardReader(Path(folder)), int(count) if count else None))
        )
    return joined(parts)


def run_calibrate(args: argparse.Namespace) -> None:
    observed = people(args.people, _model(args.model))
    calibration = calibrate(observed)
    write_doubts(args.model, calibration)
    print(f"calibrated on {len(observed)} people")
    for name, part in vars(calibration).items():
        slopes = ", ".join(f"{s} {v:.2f}" for s, v in zip(SIGNS, part.slope.tolist(), strict=True))
        print(f"{name}: {slopes}")


def run_judge(args: argparse.Namespace) -> None:
    model = _model(args.model)
    if model.doubts is None:
        raise SystemExit(f"{args.model} has no calibration: run `calibrate` first.")
    judged, before = people(args.people, model), people(args.constants, model)
    found = claims(judged, model.doubts(judged.signs), before)
    text = "\n".join([f"{len(judged)} people.", "", *table(found)])
    print(text)
    if args.write:
        write_part(args.write, text, BEGIN, END)
        draw(found, args.write.parent / "images" / "reliability.png")


def _model(path: Path) -> HMR:
    torch.set_num_threads(1)
    model = meshreg.load_model(path).model
    assert isinstance(model, HMR)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    for name, act in (("calibrate", run_calibrate), ("judge", run_judge)):
        part = parts.add_parser(name)
        part.add_argument("model", type=Path)
        part.add_argument("--people", nargs="+", required=True, help="folders of `meshreg synth`")
        part.set_defaults(act=act)
        if name == "judge":
            part.add_argument("--constants", nargs="+", required=True, help="calibration's people")
            part.add_argument("--write", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    args.act(args)


if __name__ == "__main__":
    main()
