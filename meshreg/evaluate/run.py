"""Running a regressor over a data set and measuring what it says."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from meshreg.body.regressor import JointRegressor
from meshreg.body.smpl import Body
from meshreg.data.resized import resized_picture
from meshreg.data.sample import Batch, Sample, stack
from meshreg.errors import InputError
from meshreg.evaluate.comparison import Comparison, Prediction, Values, measure
from meshreg.evaluate.protocols import Protocol, find_protocol
from meshreg.metrics import Interval, bootstrap_interval
from meshreg.models.hmr import HMR
from meshreg.models.perspose import PersPose
from meshreg.models.regressors import bodies_in_crops
from meshreg.render.rasterizer import rasterizer

Model = nn.Module | Callable[[Batch], Prediction]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out, for every sample and on average."""

    protocol: Protocol
    values: dict[str, Float[Tensor, " N"]]  # by measure; NaN where the truth is not known
    index: Int[Tensor, " N"]  # of each sample in its data set
    sequences: tuple[str, ...]  # clip of each sample; empty where the data set does not say
    intervals: dict[str, Interval]  # of the mean of every measure that was taken at all
    seed: int  # of the intervals
    about: dict[str, str] = field(default_factory=dict)  # model, data: in words

    def __len__(self) -> int:
        return len(self.index)

    def known(self, name: str) -> int:
        """How many samples have this measure."""
        return int(self.values[name].isfinite().sum())


def evaluate_model(  # noqa: PLR0913
    model: Model,
    dataset: Dataset[Sample] | Iterable[Sample],
    protocol: Protocol | str,
    *,
    body: Body | None = None,
    regressors: Mapping[str, JointRegressor] | None = None,
    batch_size: int = 32,
    workers: int = 0,
    seed: int = 0,
    about: dict[str, str] | None = None,
    on_samples: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Measure a model on a data set.

    A network of ours gets pictures as it was trained on, of its size and of turned cameras, and its
    answer is turned back; another module is called as `model(image, K_full=..., box=...)`, and
    anything else gets the whole batch. All answer with betas, pose_rotmat and transl, of `body`
    (default: the module's own). Joints come from the body's own `regressors` unless others are
    given, as SMPL's must be. Where the data set has `sequences`, intervals are over these.

    Raises:
        InputError: if the protocol or a regressor is missing, the bodies differ, there are no
            samples, or predictions are not finite.
    """
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    body = _body_of(model, body)
    rows = _regressors(protocol, body, regressors or {})
    device = body.v_template.device
    draw = rasterizer() if protocol.picture_measures else None
    loader = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        collate_fn=stack,
        num_workers=workers,
    )
    parts: list[Values] = []
    numbers: list[Tensor] = []
    with torch.inference_mode(), _at_rest(model):
        for loaded in loader:
            batch = loaded.to(device)
            prediction = _predict(model, batch)
            compared = Comparison(batch, prediction, body, rows, draw)
            _check(compared, protocol)
            parts.append({name: v.cpu() for name, v in measure(compared, protocol).items()})
            numbers.append(batch.index.cpu())
            on_samples(len(batch))
    if not parts:
        raise InputError("the data set has no samples: nothing was measured.")
    values = {name: torch.cat([part[name] for part in parts]).clone() for name in parts[0]}
    sequences = tuple(getattr(dataset, "sequences", ()))
    return Evaluation(
        protocol=protocol,
        values=values,
        index=torch.cat(numbers),
        sequences=sequences,
        intervals=_intervals(values, sequences, seed),
        seed=seed,
        about=about or {},
    )


def _predict(model: Model, batch: Batch) -> Prediction:
    if not isinstance(model, nn.Module):
        return model(batch)
    image = resized_picture(batch.image, getattr(model, "image_size", batch.image.shape[-1]))
    if isinstance(model, (HMR, PersPose)):
        known = batch.K_weight > 0
        return bodies_in_crops(model, image, K_full=batch.K_full, box=batch.box, known_camera=known)
    return model(image, K_full=batch.K_full, box=batch.box)


@contextmanager
def _at_rest(model: Model) -> Iterator[None]:
    """Evaluation mode for a module, and its old mode afterwards."""
    module = model if isinstance(model, nn.Module) else nn.Identity()
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _body_of(model: Model, body: Body | None) -> Body:
    own = getattr(model, "body", None)
    found = own if body is None else body
    if not isinstance(found, Body):
        raise InputError("this model has no body of its own: pass the one it predicts as body.")
    return found


def _regressors(
    protocol: Protocol, body: Body, given: Mapping[str, JointRegressor]
) -> dict[str, JointRegressor]:
    """Rows for every joint set that the protocol needs, made for this body."""
    rows = {}
    for joints in protocol.joint_sets:
        name = joints.regressor
        if name and name not in rows:
            found = given.get(name) or JointRegressor.from_body(body.data, name)
            found.check_body(body.topology_hash)
            rows[name] = found.to(body.v_template.device)
    return rows


def _check(compared: Comparison, protocol: Protocol) -> None:
    """Refuse predictions and truths that cannot be compared."""
    p, batch, body = compared.prediction, compared.batch, compared.body
    for name in ("betas", "pose_rotmat", "transl"):
        bad = ~getattr(p, name).flatten(1).isfinite().all(1)
        if bad.any():
            number = int(batch.index[bad][0])
            raise InputError(
                f"the model's {name} of sample {number} is not finite: its weights or its input "
                "are broken."
            )
    if p.betas.shape[1] != batch.betas.shape[1] or p.betas.shape[1] != body.num_betas:
        raise InputError(
            f"the model predicts {p.betas.shape[1]} betas, the samples have "
            f"{batch.betas.shape[1]} and the body {body.num_betas}: use the body of the samples."
        )
    vertices = batch.vertices_cam.shape[1]
    if protocol.gendered_truth and not vertices:
        raise InputError(
            f"{protocol.name} compares with meshes of the person's gender, which these samples "
            "lack: read them with gendered bodies."
        )
    if vertices and vertices != len(body.v_template):
        raise InputError(
            f"the samples' meshes have {vertices} vertices but the body {body.data.name} has "
            f"{len(body.v_template)}: evaluate with the body that the samples are about."
        )


def _intervals(
    values: dict[str, Float[Tensor, " N"]], sequences: tuple[str, ...], seed: int
) -> dict[str, Interval]:
    """Means with intervals over sequences if there are several, else over samples."""
    count = len(next(iter(values.values())))
    order = {name: place for place, name in enumerate(dict.fromkeys(sequences))}
    groups = None
    if len(order) > 1 and len(sequences) == count:
        groups = torch.tensor([order[name] for name in sequences])
    intervals = {}
    for name, found in values.items():
        known = found.isfinite()
        if known.any():
            members = None if groups is None else groups[known]
            intervals[name] = bootstrap_interval(found[known], members, seed=seed)
    if not intervals:
        raise InputError(
            f"none of the {count} samples has the truth that this protocol needs: use a data set "
            "that has it, or another protocol."
        )
    return intervals
