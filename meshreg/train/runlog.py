"""What a run tells while it goes on: rows of a CSV file, TensorBoard, a progress bar, pictures."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from meshreg.files import written_whole

CSV = "metrics.csv"


class MetricRows:
    """`metrics.csv`: one row per logged step, a column per number; empty where there is none."""

    def __init__(self, path: Path, *, start: int) -> None:
        """Go on with a file; rows after step `start` are of a lost part of the run and go."""
        self.path = path
        self.columns: list[str] = ["step"]
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or self.columns)
                whole = [row for row in reader if None not in row.values()]  # a kill cuts rows off
            self.rows = [row for row in whole if int(row["step"]) <= start]
        self._rewrite()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append a row; a name that is new gets a column."""
        row = {"step": str(step)} | {name: f"{value:.9g}" for name, value in values.items()}
        self.rows.append(row)
        if new := [name for name in row if name not in self.columns]:
            self.columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _rewrite(self) -> None:
        with (
            written_whole(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)


class Means:
    """Running means of named numbers; what they hold can be saved with a checkpoint."""

    def __init__(self, sums: Mapping[str, tuple[float, int]] | None = None) -> None:
        self.sums = {
            name: (float(total), int(count)) for name, (total, count) in (sums or {}).items()
        }

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + float(value), count + 1)

    def take(self) -> dict[str, float]:
        """The means, and start anew."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


class RunLog:
    """All of it for one run; a context manager. Only the first process should have one."""

    def __init__(
        self, out: Path, *, start: int, steps: int, console: Console | None = None
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.out, self.steps = out, steps
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.rows = MetricRows(out / CSV, start=start)
        self.board: Any = SummaryWriter(str(out / "tensorboard"), purge_step=start or None)
        columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn())
        columns += (MofNCompleteColumn(), TextColumn("{task.fields[pace]}"), TimeRemainingColumn())
        self.progress = Progress(*columns, console=self.console)
        self.bar = self.progress.add_task("training", total=steps, completed=start, pace="")
        self._clock = time.perf_counter()
        self._clocked = start

    def __enter__(self) -> "RunLog":
        if self.console.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self.progress.stop()
        self.board.close()

    def step_done(self, step: int) -> None:
        """Move the bar; `step` steps are done."""
        self.progress.update(self.bar, completed=step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """A row of the means since the last one, with the time that a step took."""
        now = time.perf_counter()
        seconds = (now - self._clock) / max(step - self._clocked, 1)
        self._clock, self._clocked = now, step
        self.rows.add(step, {**values, "seconds_per_step": seconds})
        self._to_board("train", step, values)
        loss, pace = values["loss"], f"{seconds * 1000:.0f} ms"
        self.progress.update(self.bar, description=f"loss {loss:.4g}", pace=pace)
        if not self.console.is_terminal:
            left = (self.steps - step) * seconds / 60
            self.console.print(
                f"step {step}/{self.steps}  loss {loss:.4g}  {pace}  {left:.0f} min left"
            )

    def judged(self, step: int, scores: Mapping[str, float]) -> None:
        """Scores of an evaluation, in a row of their own."""
        self.rows.add(step, {f"eval_{name}": value for name, value in scores.items()})
        self._to_board("eval", step, scores)
        told = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.console.print(f"step {step}: {told}")

    def picture(self, step: int, image: UInt8[Tensor, "3 H W"]) -> None:
        """Into `pictures/` and TensorBoard."""
        from PIL import Image

        image = image.cpu()
        self.board.add_image("picture", image, step)
        height, width = image.shape[1:]
        content = bytes(image.permute(1, 2, 0).flatten().tolist())
        with written_whole(self.out / "pictures" / f"step_{step:08d}.png") as temporary:
            Image.frombytes("RGB", (width, height), content).save(temporary, "PNG")

    def say(self, sentence: str) -> None:
        self.console.print(sentence)

    def _to_board(self, group: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.board.add_scalar(f"{group}/{name}", value, step)
