"""How well a trained model does on the people that no run has seen."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.sample import Batch
from meshreg.data.shard_samples import ShardSamples
from meshreg.data.shards import Manifest, read_manifest
from meshreg.errors import InputError
from meshreg.evaluate.comparison import Comparison, measure
from meshreg.evaluate.protocols import JointSet, Protocol
from meshreg.files import written_whole
from meshreg.metrics import mask_iou
from meshreg.models.checkpoint import load_model
from meshreg.render.rasterizer import rasterizer

BATCH = 50
PROTOCOL = Protocol(
    name="ablation",
    summary="held-out synthetic dressed people, the body's 24 joints",
    joint_sets=(JointSet(joints=SKELETONS["smpl24"].joints, roots=("pelvis",)),),
    mesh_measures=("pve_mm", "shape_mm"),
    picture_measures=("silhouette_iou",),
)
# Measure -> its title, and whether less is better
MEASURES: dict[str, tuple[str, bool]] = {
    "pa_mpjpe_mm": ("PA-MPJPE, mm", True),
    "mpjpe_mm": ("MPJPE, mm", True),
    "pve_mm": ("PVE, mm", True),
    "shape_mm": ("shape, mm", True),
    "body_iou": ("body IoU", False),
    "silhouette_iou": ("person IoU", False),
}


@dataclass(frozen=True)
class Judge:
    """The people that all runs are judged by: the first `count` of a folder of shards."""

    folder: Path
    count: int

    def name(self) -> str:
        """Says which people, whatever the folder is called."""
        manifest = read_manifest(self.folder)
        return f"seed {manifest.seed}, {manifest.settings_hash}, first {self.count}"

    def batches(self, topology_hash: str) -> list[Batch]:
        """The people, a few at a time."""
        people = ShardSamples(self.folder, topology_hash=topology_hash)
        starts = range(0, self.count, BATCH)
        return [people.take(range(i, min(i + BATCH, self.count))) for i in starts]


def check_disjoint(people: Manifest, judge: Judge, size: int) -> None:
    """Nobody may be trained on and judged by.

    Raises:
        InputError: if the two are drawn with one seed, there are too few to judge by, or their
            pictures have another size.
    """
    judged = read_manifest(judge.folder)
    if judged.seed == people.seed:
        raise InputError(
            f"{judge.folder} holds people of seed {judged.seed}, as the training does: draw others "
            "with meshreg synth --seed."
        )
    if (found := judged.settings["scene"]["size"]) != size:
        raise InputError(f"{judge.folder} has pictures of {found} pixels: draw some of {size}.")
    if not 0 < judge.count <= judged.count:
        raise InputError(
            f"{judge.folder} holds {judged.count} people: choose a --judge-count of 1 to that."
        )


Values = dict[str, Float[Tensor, " P"]]  # measure -> every judged person


def scores_of(
    model_path: Path,
    judge: Judge,
    measures: Mapping[str, tuple[str, bool]] = MEASURES,
    measured_by: Callable[[Path, Judge], Values] | None = None,
) -> Values:
    """Every measure of every judged person; kept beside the model, and read if it is there."""
    path = model_path.with_name("scores.json")
    made_of = {"model": _digest(model_path), "judge": judge.name(), "measures": [*measures]}
    if path.is_file():
        kept = json.loads(path.read_text("utf-8"))
        if kept["made_of"] == made_of:
            return {name: torch.tensor(values) for name, values in kept["values"].items()}
    values = (measured_by or measured)(model_path, judge)
    record = {"made_of": made_of, "values": {name: v.tolist() for name, v in values.items()}}
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(record) + "\n", "utf-8")
    return values


@torch.inference_mode()
def measured(model_path: Path, judge: Judge) -> Values:
    """The same, measured now."""
    body, draw = load_body(), rasterizer()
    model = load_model(model_path, body=body)
    parts = []
    for batch in judge.batches(body.topology_hash):
        pred = model(batch.image, K_full=batch.K_full, box=batch.box)
        compared = Comparison(batch, pred, body, {}, draw)
        parts.append(measure(compared, PROTOCOL) | {"body_iou": body_iou(compared)})
    return {name: torch.cat([part[name] for part in parts]) for name in MEASURES}


def body_iou(compared: Comparison) -> Float[Tensor, " B"]:
    """Overlap of the predicted with the true body, both bare and with nothing in front."""
    batch, body = compared.batch, compared.body
    assert compared.rasterizer is not None
    size = (batch.image.shape[-2], batch.image.shape[-1])
    drawn = [
        compared.rasterizer.fragments(vertices, body.faces, batch.K, size).pix_to_face[..., 0] >= 0
        for vertices in (compared.predicted.vertices, compared.true_vertices)
    ]
    return mask_iou(*drawn)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
