"""`meshreg prior learn`: fitted bodies and label maps in; what people wear where out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.options import LearnPriorOptions
from meshreg.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from rich.console import Console

    from meshreg.body.smpl import Body
    from meshreg.train.clothing_prior import DressedViews

MASK_SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")  # JPEG mixes ids
MASK_ENDINGS = ("", "_mask", "_labels")
LARGEST_PX = 1024  # larger label maps are thinned out: they tell no more about 7000 vertices
SYNTHETIC_PX, SYNTHETIC_BATCH = 144, 8
EVERY_BETA = 300  # as many as any SMPL file has


@dataclass(frozen=True)
class Pair:
    """A fitted body and the label map of its picture."""

    fit: Path
    mask: Path


def run_learn_prior(options: LearnPriorOptions) -> None:
    """Match, count, smooth, write, report."""
    from rich.console import Console

    from meshreg.body.smpl import load_body
    from meshreg.clothing.counting import prior_from_counts
    from meshreg.clothing.prior import save_semantic_prior
    from meshreg.clothing.schemes import find_scheme
    from meshreg.files import check_writable
    from meshreg.render.rasterizer import rasterizer
    from meshreg.train.clothing_prior import collect_votes

    if not 0 < options.smoothing < float("inf"):
        raise InputError(f"expected --smoothing above 0, found {options.smoothing}: 1 is usual.")
    if options.out.suffix != ".safetensors":
        raise InputError(f"expected --out FILE.safetensors, found {options.out.name}: rename it.")
    if options.synthetic and (options.fits or options.body != "builtin"):
        raise InputError(
            "--synthetic draws people with the built-in body: leave out --fits and --body, or it."
        )
    check_writable(options.out.parent)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if options.synthetic:
        body = load_body()
        count, views = options.synthetic, _synthetic_views(options, console)
    else:
        pairs = pair_up(options.fits, options.masks)
        body = load_body(options.body, folder=options.folder, num_betas=EVERY_BETA)
        if remark := find_scheme(options.scheme).remark:
            console.print(f"note: {remark}.")
        count, views = len(pairs), _with_progress(pairs, body, options, console)
    counts = collect_votes(views, body, rasterizer(), background=options.background)
    prior = prior_from_counts(
        counts,
        body,
        smoothing=options.smoothing,
        recipe=_recipe(options, count),
        licence=options.licence,
    )
    save_semantic_prior(options.out, prior)
    seen = float((counts.sum(1) > 0).float().mean())
    console.print(f"{count} views show {seen:.0%} of the vertices at least once.")
    console.print(f"wrote {options.out}")


def _synthetic_views(options: LearnPriorOptions, console: "Console") -> Iterator["DressedViews"]:
    """Pictures of dressed people from the generator, at a size that shows every finger."""
    from rich.progress import track

    from meshreg.body.assets import load_body_data
    from meshreg.data.synthetic.generator import make_generator
    from meshreg.data.synthetic.prior_poses import PriorPoses
    from meshreg.data.synthetic.scene import Planner
    from meshreg.data.synthetic.settings import SceneSettings
    from meshreg.train.clothing_prior import DressedViews

    settings = SceneSettings(size=SYNTHETIC_PX)
    planner = Planner(
        options.seed, poses=PriorPoses(), body=load_body_data("builtin"), settings=settings
    )
    generator = make_generator(supersampling=1)
    starts = range(0, options.synthetic, SYNTHETIC_BATCH)
    for start in track(starts, description="draw", console=console):
        indices = range(start, min(start + SYNTHETIC_BATCH, options.synthetic))
        people = generator.render([planner.plan(index) for index in indices])
        yield DressedViews(verts_cam=people.vertices_cam, K=people.K, labels=people.labels)


def _recipe(options: LearnPriorOptions, views: int) -> str:
    counted = "background counted" if options.background else "background left out"
    source = f"scheme {options.scheme}"
    if options.synthetic:
        source = f"synthetic people of seed {options.seed}"
    return (
        f"meshreg prior learn: {views} views, {source}, {counted}, smoothing {options.smoothing:g}"
    )


def pair_up(places: list[Path], masks: Path) -> list[Pair]:
    """Every fitted body with the label map of the same name.

    `result.npz`, as `meshreg fit` calls all its results, has the name of its folder.

    Raises:
        MissingFileError: if a place is not there, or a body has no label map.
        InputError: if there are no bodies.
    """
    if not masks.is_dir():
        raise MissingFileError(f"no folder of label maps at {masks}: give it with --masks.")
    fits = [fit for place in places for fit in _fits_in(place)]
    if not fits:
        where = ", ".join(str(place) for place in places) or "--fits, which is empty"
        raise InputError(
            f"expected fitted bodies (.npz, .obj, .ply) in {where}, found none: run `meshreg fit` "
            "or convert your fits."
        )
    return [Pair(fit=fit, mask=_mask_of(fit, masks)) for fit in fits]


def _fits_in(place: Path) -> list[Path]:
    from meshreg.data.fitted import FIT_SUFFIXES, MESH_SUFFIXES

    if not place.exists():
        raise MissingFileError(f"no fitted body or folder of them at {place}: check --fits.")
    if place.is_file():
        return [place]
    files = [f for f in sorted(place.rglob("*")) if f.suffix.lower() in FIT_SUFFIXES]
    meshes = [f for f in files if f.suffix.lower() in MESH_SUFFIXES]
    cameras = {f.with_suffix(".npz") for f in meshes}  # of the meshes beside them
    return [f for f in files if f not in cameras]


def _mask_of(fit: Path, masks: Path) -> Path:
    name = fit.parent.name if fit.stem == "result" else fit.stem
    for ending in MASK_ENDINGS:
        for suffix in MASK_SUFFIXES:
            if (mask := masks / f"{name}{ending}{suffix}").is_file():
                return mask
    raise MissingFileError(
        f"no label map for {fit} in {masks}: expected {name}.png or {name}_mask.png there."
    )


def _with_progress(
    pairs: list[Pair], body: "Body", options: LearnPriorOptions, console: "Console"
) -> Iterator["DressedViews"]:
    from rich.progress import track

    for pair in track(pairs, description="count", console=console):
        yield read_view(pair, body, options)


def read_view(pair: Pair, body: "Body", options: LearnPriorOptions) -> "DressedViews":
    """The body and the labels of one picture, which is thinned out if it is large.

    Raises:
        InputError: if one of the files is not what it should be, or they do not fit together.
    """
    import torch

    from meshreg.data.fitted import find_K, read_fitted
    from meshreg.data.images import resize_labels
    from meshreg.data.labels import read_labels
    from meshreg.geometry.cameras import resize_intrinsics
    from meshreg.train.clothing_prior import DressedViews

    fitted = read_fitted(pair.fit, body)
    labels = read_labels(pair.mask, fitted.size, options.scheme)
    height, width = labels.shape
    K = find_K(pair.fit, (height, width), options.camera) if fitted.K is None else fitted.K
    scale = min(1.0, LARGEST_PX / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return DressedViews(
        verts_cam=fitted.vertices_cam[None],
        K=resize_intrinsics(K, size[1] / width, size[0] / height)[None],
        labels=torch.from_numpy(resize_labels(labels, size))[None],
    )
