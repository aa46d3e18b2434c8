"""`meshreg models ...` and `meshreg prior pose`: bodies and priors, and making them."""

from pathlib import Path
from typing import TYPE_CHECKING

from meshreg.cli.options import AddOptions, BakeOptions, ListOptions, PosePriorOptions

if TYPE_CHECKING:
    from rich.table import Table


def run_list(options: ListOptions) -> None:
    """Print a table of the body models."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(body_table(options.folder))
    console.print("add a licensed SMPL file with: meshreg models add PATH")


def body_table(folder: Path) -> "Table":
    """All bodies with their sizes, topology hashes and licences."""
    from rich.table import Table

    from meshreg.body.official import list_body_models

    table = Table("name", "vertices", "betas", "topology", "licence or problem", box=None)
    for body in list_body_models(folder):
        remark = body.problem or body.licence
        table.add_row(
            body.name, str(body.num_vertices), str(body.num_betas), body.topology_hash, remark
        )
    return table


def run_add(options: AddOptions) -> None:
    """Convert licensed files and say where they went."""
    from rich.console import Console

    from meshreg.body.official import add_body_models

    paths = add_body_models(
        options.path, options.folder, options.gender, overwrite=options.overwrite
    )
    for path in paths:
        Console(highlight=False, markup=False).print(f"added {path}", soft_wrap=True)


def run_bake(options: BakeOptions) -> None:
    """Bake the built-in body."""
    from rich.console import Console

    from meshreg.body.bake import bake_body

    console = Console(highlight=False, markup=False)
    data = bake_body(options.out, seed=options.seed, report=console.print)
    console.print(
        f"wrote {options.out}: {len(data.v_template)} vertices, topology {data.topology_hash}",
        soft_wrap=True,
    )


def run_pose_prior(options: PosePriorOptions) -> None:
    """Learn the pose prior."""
    from rich.console import Console

    from meshreg.train.pose_prior import Config, main

    main(
        Config(
            motion=options.motion,
            out=options.out,
            held_out=tuple(options.held_out),
            seed=options.seed,
        )
    )
    Console(highlight=False, markup=False).print(f"wrote {options.out}", soft_wrap=True)
