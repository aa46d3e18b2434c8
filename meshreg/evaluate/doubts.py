"""How wrong a regressor was, beside what it said of its doubts; and a calibration learned of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.data.resized import resized_picture
from meshreg.data.sample import Batch, Sample, stack
from meshreg.errors import InputError
from meshreg.geometry.cameras import project
from meshreg.models.doubts import SIGNS, DoubtCalibration, ScaleMap, signs_of_doubt
from meshreg.models.hmr import HMR

MOST_OFF = 3.0  # half sides: joints far outside the picture are not more wrong than that
_MIRRORED = SKELETONS["smplx45"].flip
_RIDGE = 1e-3  # keeps the slopes of signs that tell nothing at zero


@dataclass(frozen=True, eq=False)
class Observations:
    """Signs of doubt and the errors that came with them, for N people; every joint is known."""

    signs: Float[Tensor, "N 45 S"]
    points: Float[Tensor, "N 45 2"]  # of the maps, half sides of the picture
    across: Float[Tensor, "N 45 2"]  # of the body's joints from the pelvis, camera x and y, metres
    depth: Float[Tensor, "N 45 1"]  # the same along z
    place: Float[Tensor, "N 1 1"]  # of the logarithm of the pelvis' depth
    seen_depth: Float[Tensor, "N 45 1"]  # of the depths that the maps tell, metres
    in_picture: Bool[Tensor, "N 45"]  # where the true joint is

    def __len__(self) -> int:
        return len(self.signs)


def joined(parts: Sequence[Observations]) -> Observations:
    """Several observations as one."""
    return Observations(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Observations)}
    )


def observe(model: HMR, people: Iterable[Sample], *, batch_size: int = 50) -> Observations:
    """What a network that looks for joints says of people whose truth is known.

    Raises:
        InputError: if the network has no joint maps, or is shown turned pictures.
    """
    if model.centred != "none":
        raise InputError("doubts are calibrated for networks whose pictures are not turned only.")
    parts, waiting = [], []
    with torch.inference_mode():
        for sample in people:
            waiting.append(sample)
            if len(waiting) == batch_size:
                parts.append(_errors(model, stack(waiting)))
                waiting = []
        if waiting:
            parts.append(_errors(model, stack(waiting)))
    if not parts:
        raise InputError("the data set has no people: nothing can be calibrated.")
    return joined(parts)


def _errors(model: HMR, batch: Batch) -> Observations:
    image = resized_picture(batch.image, model.image_size)
    found = model(image, K_full=batch.K_full, box=batch.box)
    evidence = found.evidence
    if evidence is None:
        raise InputError("this network has no joint maps, so it has no doubts to calibrate.")
    posed = model.mesh(found)
    side = batch.image.shape[-1]
    in_crop = _half_sides(project(posed.joints, batch.K), side)
    truth = _half_sides(batch.joints_px, side)
    own = posed.joints - posed.joints[:, :1]
    true = batch.joints_cam - batch.joints_cam[:, :1]
    place = posed.joints[:, :1, 2:].clamp_min(0.1).log() - batch.joints_cam[:, :1, 2:].log()
    return Observations(
        signs=signs_of_doubt(evidence, in_crop),
        points=(evidence.points - truth).clamp(-MOST_OFF, MOST_OFF),
        across=(own - true)[..., :2],
        depth=(own - true)[..., 2:],
        place=place,
        seen_depth=evidence.depth[..., None] - true[..., 2:],
        in_picture=(truth.abs() < 1).all(-1),
    )


def _half_sides(pixels: Float[Tensor, "B J 2"], side: int) -> Float[Tensor, "B J 2"]:
    return (pixels + 0.5) / (side / 2) - 1


def calibrate(observed: Observations) -> DoubtCalibration:
    """The calibration under which the observed errors are likeliest; the same for both sides."""
    from_mean = observed.signs.mean(1, keepdim=True)
    return DoubtCalibration(
        points=_likeliest(observed.signs, observed.points),
        across=_likeliest(observed.signs, observed.across),
        depth=_likeliest(observed.signs, observed.depth),
        place=_likeliest(from_mean, observed.place),
    )


def _likeliest(signs: Float[Tensor, "N J S"], errors: Float[Tensor, "N J D"]) -> ScaleMap:
    """The map of least negative log likelihood under Laplace distributions."""
    size = errors.abs().mean(-1)
    # The pelvis is where it is by definition: without a floor its scale would fall forever.
    size = size.clamp_min(1e-3)
    offset = size.mean(0).log().requires_grad_()
    root = torch.full((len(SIGNS),), 0.3, requires_grad=True)  # slopes are squares: not negative

    def current() -> ScaleMap:
        both = offset if len(offset) == 1 else (offset + offset[list(_MIRRORED)]) / 2
        return ScaleMap(offset=both, slope=root.square())

    search = torch.optim.LBFGS([offset, root], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        scale = current()(signs)
        value = (size / scale + scale.log()).mean() + _RIDGE * root.square().sum()
        value.backward()
        return value

    search.step(loss)
    found = current()
    return ScaleMap(offset=found.offset.detach(), slope=found.slope.detach())
