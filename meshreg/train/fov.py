"""Train a network that tells from a whole picture how wide its camera sees.

Run: `meshreg train --config configs/fov/default.yaml`
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from meshreg.data.cached import CachedPeople
from meshreg.data.mixture import Mixture
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.data.whole_pictures import SeenWidths, WidthBatches, drawn_pictures
from meshreg.evaluate.field_of_view import judge_fov
from meshreg.files import check_writable
from meshreg.losses.field_of_view import distance_from_truth, unlikeliness
from meshreg.losses.terms import Term
from meshreg.models.field_of_view import FovArchitecture, FovNetwork, build_fov, made_honest
from meshreg.models.fov_files import save_fov, start_from_regressor
from meshreg.train.device import launch
from meshreg.train.fov_config import (
    FovConfig,
    FovDataConfig,
    FovLossConfig,
    FovModelConfig,
    PicturesConfig,
)
from meshreg.train.loop import Task, train
from meshreg.train.same_run import check_same_run

LICENCE = (  # of what was learned from synthetic people in poses of the shipped prior
    "CC0-1.0. Poses in its training come from the CMU Graphics Lab Motion Capture Database "
    "(mocap.cs.cmu.edu), created with funding from NSF EIA-0196217."
)


def main(config: FovConfig) -> bool:
    """Pictures, network, losses, loop, file; false if somebody stopped the run before its end.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    fabric = launch(config.run)
    if fabric.global_rank == 0:
        check_writable(config.out)
        check_same_run(config.out, asdict(config))

    # --- data -------------------------------------------------------------------------------------
    data = config.data
    with fabric.rank_zero_first():  # one process draws what all of them read
        sources = {name: pictures_of(data, name, wanted) for name, wanted in data.sources.items()}
        judged = pictures_of(data, "judge", data.judge) if data.judge else None
        fresh = pictures_of(data, "calibrate", data.calibrate) if data.calibrate else None
    mixture = Mixture(
        sources,
        {name: wanted.weight for name, wanted in data.sources.items()},
        batch_size=data.batch_size,
        seed=config.run.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    size, seed, rank = config.model.image_size, config.run.seed, fabric.global_rank
    batches = WidthBatches(mixture, data.augment, size, seed=seed, rank=rank)

    # --- model and losses -------------------------------------------------------------------------
    torch.manual_seed(config.run.seed)
    network = build_network(config.model)

    # --- loop -------------------------------------------------------------------------------------
    task = Task(
        model=network,
        batches=batches,
        terms=FovTerms(config.losses, network.edges_deg),
        evaluate=(lambda net: scores(net, judged)) if judged else None,
    )
    finished = train(fabric, task, optimiser=config.optimiser, run=config.run, out=config.out)
    if finished and fabric.global_rank == 0:
        network.eval()
        if fresh is not None:
            found = judge_fov(network, fresh)
            made_honest(network, found.found.log_shares, found.true_deg)
        count = sum(wanted.count for wanted in data.sources.values())
        recipe = f"{config.run.steps} steps of {data.batch_size} of {count} synthetic pictures"
        save_fov(
            config.out / "model.safetensors",
            network,
            dtype="float16",
            licence=LICENCE,
            recipe=recipe,
        )
    return finished


class FovTerms:
    """Calls the network on a batch and names every term of its loss."""

    def __init__(self, config: FovLossConfig, edges_deg: torch.Tensor) -> None:
        self.config, self.edges_deg = config, edges_deg

    def __call__(
        self, predict: Callable[..., Any], batch: SeenWidths, step: int
    ) -> Mapping[str, Term]:
        del step  # the weights stay as they are
        found = predict(batch.image)
        edges, truth = found.edges_deg, batch.fov_deg
        return {
            "unlikely": Term(
                self.config.unlikely, lambda: unlikeliness(found.log_shares, edges, truth)
            ),
            "distance": Term(
                self.config.distance, lambda: distance_from_truth(found.below, edges, truth)
            ),
        }


def build_network(config: FovModelConfig) -> FovNetwork:
    """The network that the config names.

    Raises:
        InputError: if there is no such backbone, or its weights do not fit.
    """
    values = asdict(config)
    weights, start = values.pop("weights"), values.pop("start_from")
    where = Path(weights) if weights not in (None, "pretrained") else weights
    network = build_fov(FovArchitecture(**values), weights=where)
    if start is not None:
        start_from_regressor(network, start)
    return network


def pictures_of(data: FovDataConfig, name: str, wanted: PicturesConfig) -> CachedPeople:
    """The pictures that a config describes, drawn if they are not there.

    Raises:
        InputError: if they cannot be drawn or written, or others are in their folder.
    """
    scene = {
        "fov_deg": tuple(wanted.fov),
        "usual_fov_share": 0.0,  # the whole range alike, not mostly everyday lenses
        "apparent_height": tuple(wanted.heights),
        "central_share": wanted.central,
    }
    recipe = PeopleRecipe(
        seed=wanted.seed,
        size=data.drawn,
        supersampling=1,  # they are shrunk before anybody sees them
        scene=tuple(scene.items()),
        whole=True,
    )
    recipe.settings  # noqa: B018  refuse what cannot be meant now, not in a worker
    return drawn_pictures(data.folder / name, recipe, wanted.count)


def scores(network: nn.Module, judged: CachedPeople) -> Mapping[str, float]:
    """Errors across the longer side in degrees, the median first."""
    was_training = network.training
    found = judge_fov(cast(FovNetwork, network.eval()), judged)
    network.train(was_training)
    errors = found.errors["network"]
    return {
        "median_deg": float(errors.median()),
        "mean_deg": float(errors.mean()),
        "covered_80": found.coverage(0.8),
    }
