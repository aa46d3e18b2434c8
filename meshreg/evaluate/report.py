"""An evaluation on paper: a table for the terminal, a row per sample, and everything as JSON."""

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.evaluate.run import Evaluation
from meshreg.files import written_whole

if TYPE_CHECKING:
    from rich.table import Table

FORMAT_VERSION = 1


def result_table(evaluation: Evaluation) -> "Table":
    """The protocol's rules above, then every measure with its interval."""
    from rich.table import Table

    title = "\n".join(evaluation.protocol.card())
    table = Table(title=title, title_justify="left", title_style="", box=None)
    for column in ("measure", "mean", "95 % interval", "samples"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, interval in evaluation.intervals.items():
        if "." in name:  # a class of a measure that is there as a whole
            continue
        digits = 3 if name.endswith("iou") else 1
        mean, low, high = (f"{v:.{digits}f}" for v in (interval.mean, interval.low, interval.high))
        table.add_row(name, mean, f"{low} ... {high}", str(evaluation.known(name)))
    return table


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """One row per sample, with empty cells where the truth is not known."""
    names = list(evaluation.values)
    columns = [evaluation.values[name].tolist() for name in names]
    sequences = evaluation.sequences or ("",) * len(evaluation)
    with (
        written_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["index", "sequence", *names])
        for number, sequence, *row in zip(
            evaluation.index.tolist(), sequences, *columns, strict=True
        ):
            cells = ["" if math.isnan(value) else f"{value:.6g}" for value in row]
            writer.writerow([number, sequence, *cells])


def write_json(evaluation: Evaluation, path: Path) -> None:
    """The rules, the means with their intervals, and how many samples each is of."""
    several = len(set(evaluation.sequences)) > 1
    record = {
        "format_version": FORMAT_VERSION,
        "protocol": asdict(evaluation.protocol),
        "card": evaluation.protocol.card(),
        "about": evaluation.about,
        "num_samples": len(evaluation),
        "intervals": {
            "level": 0.95,
            "method": "percentile bootstrap over " + ("sequences" if several else "samples"),
            "seed": evaluation.seed,
        },
        "results": {
            name: asdict(interval) | {"num_samples": evaluation.known(name)}
            for name, interval in evaluation.intervals.items()
        },
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
