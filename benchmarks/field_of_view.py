"""How well does the field-of-view network tell lenses apart, and how well does it know its errors?

Run: `python benchmarks/field_of_view.py --data data/whole_pictures [--model FILE] [--write
docs/camera.md]`, the folder of the pictures that `configs/fov/default.yaml` draws; the people in
`judge` were not trained on. `--photos FOLDER` also says what is read from photographs.
"""

import argparse
import sys
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.data.cached import CachedPeople
from meshreg.data.exif import picture_camera
from meshreg.data.images import read_image
from meshreg.evaluate.field_of_view import LEVELS, FovJudgement, judge_fov
from meshreg.geometry.cameras import longer_side_fov
from meshreg.metrics import bootstrap_interval
from meshreg.models.field_of_view import FovNetwork
from meshreg.models.fov_files import SHIPPED, load_fov
from meshreg.predictor.field_of_view import predicted_camera

BEGIN, END = "<!-- made by benchmarks/field_of_view.py -->", "<!-- end -->"
WHO = {
    "network": "the network",
    "best constant": "the best constant, {:.0f} degrees",
    "image diagonal": "the usual guess, one diagonal (CLIFF)",
}


def error_table(judged: FovJudgement) -> list[str]:
    """Absolute errors of the network and of guesses that look at no picture."""
    lines = ["| who says | median error | mean error |", "|---|---|---|"]
    for name, errors in judged.errors.items():
        who = WHO[name].format(judged.constant_deg)
        lines.append(f"| {who} | {float(errors.median()):.1f} | {_mean(errors)} |")
    return lines


def _mean(values: Float[Tensor, " N"]) -> str:
    interval = bootstrap_interval(values)
    return f"{interval.mean:.1f} ± {(interval.high - interval.low) / 2:.1f}"


def honesty(judged: FovJudgement) -> str:
    """Whether intervals hold as many truths as they promise, and narrow ones are better."""
    held = ", ".join(f"{100 * judged.coverage(level):.0f}%" for level in LEVELS)
    promised = ", ".join(f"{100 * level:.0f}%" for level in LEVELS)
    width, errors = judged.width_deg(0.8), judged.errors["network"]
    sure = width <= width.median()
    return (
        f"Intervals that promise {promised} of the true angles hold {held}. The surer half of the "
        f"pictures has a mean error of {_mean(errors[sure])} degrees, the other half "
        f"{_mean(errors[~sure])}; 80% intervals are {float(width.median()):.0f} degrees wide "
        f"(from {float(width.quantile(0.05)):.0f} to {float(width.quantile(0.95)):.0f} in 90% of "
        "pictures)."
    )


def photographs(network: FovNetwork, folder: Path) -> list[str]:
    """What is read from photographs, beside what their files tell."""
    lines = []
    for path in sorted(folder.glob("*.jpg")):
        image = read_image(path)
        size = image.shape[0], image.shape[1]
        told = picture_camera(path, size)
        lines.append(
            f"{path.name} ({size[1]}x{size[0]}): {predicted_camera(image, network).source}"
        )
        lines.append(f"    its file: {longer_side_fov(told):.0f} degrees; {told.source}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the drawn pictures")
    parser.add_argument("--model", type=Path, help="another model file")
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    network = load_fov(args.model)
    if args.photos:
        print("\n".join(photographs(network, args.photos)))
    if not args.data:
        return
    judged = judge_fov(network, CachedPeople(args.data / "judge"))
    gain = judged.gain
    lines = error_table(judged)
    lines += ["", f"Degrees across the longer side, {len(judged.true_deg)} pictures. Against the "]
    lines[-1] += f"best constant the mean error is {gain.mean:.1f} smaller ({gain.low:.1f} to "
    lines[-1] += f"{gain.high:.1f}). {honesty(judged)}"
    size = (args.model or SHIPPED).stat().st_size / 1e6
    lines[-1] += f" The file has {size:.1f} MB."
    text = "\n".join(lines)
    print(text)
    if args.write:
        write_part(args.write, text, BEGIN, END)


if __name__ == "__main__":
    main()
