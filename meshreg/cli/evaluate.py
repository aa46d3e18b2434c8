"""`meshreg evaluate`: a trained regressor on a data set, measured by a named protocol.

Lifters have a module of their own.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshreg.cli.device import check_device
from meshreg.cli.options import EvaluateOptions
from meshreg.errors import InputError, MissingFileError
from meshreg.files import check_writable

H36M = "h36m17"
SHIPPED = Path("default")  # the name of the regressor that comes with meshreg

if TYPE_CHECKING:
    from torch import nn

    from meshreg.body.regressor import JointRegressor
    from meshreg.body.smpl import Body
    from meshreg.data.annotations import Annotations
    from meshreg.evaluate.protocols import Protocol


def run_evaluate(options: EvaluateOptions) -> None:
    """Load, measure, print, write."""
    is_about_lifters = options.protocol.startswith("lift-")
    if options.model == SHIPPED and not is_about_lifters:
        from meshreg.predictor.regress import DEFAULT_MODEL

        options = replace(options, model=DEFAULT_MODEL)
    if is_about_lifters or _is_lifter(options.model):
        from meshreg.cli.evaluate_lifter import run_evaluate_lifter

        run_evaluate_lifter(options)
        return
    from rich.console import Console

    from meshreg.evaluate.protocols import find_protocol
    from meshreg.evaluate.report import result_table, write_csv, write_json
    from meshreg.evaluate.run import evaluate_model

    console = Console(highlight=False, markup=False, soft_wrap=True)
    protocol = find_protocol(options.protocol)
    _check(options)
    check_writable(options.out)
    model = load_regressor(options).to(options.device)
    body: Any = model.body
    rows = _regressors(options, protocol, body)
    with console.status("measuring") as status:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            status.update(f"measured {done} people")

        result = evaluate_model(
            model,
            load_data(options, protocol, body, centred=_centred(model, protocol)),
            protocol,
            regressors=rows,
            batch_size=options.batch_size,
            workers=options.workers,
            seed=options.seed,
            about=_about(options, body),
            on_samples=advance,
        )
    console.print(result_table(result))
    write_csv(result, options.out / "samples.csv")
    write_json(result, options.out / "results.json")
    console.print(f"wrote {options.out / 'results.json'} and samples.csv: {len(result)} people")


def _is_lifter(model: Path) -> bool:
    from meshreg.lifters.checkpoint import is_lifter

    return model.is_file() and is_lifter(model)


def _check(options: EvaluateOptions) -> None:
    check_device(options.device)
    if options.batch_size < 1 or options.workers < 0:
        raise InputError(
            f"expected a batch size of 1 or more and 0 or more workers, not {options.batch_size} "
            f"and {options.workers}."
        )
    if not options.data.exists():
        raise MissingFileError(
            f"no data at {options.data}: give an .npz of annotations or a folder of shards."
        )


def load_regressor(options: EvaluateOptions) -> "nn.Module":
    """The model of a file, on the body that it predicts."""
    from meshreg.body.smpl import load_body
    from meshreg.models import regressors

    body = None if options.body is None else load_body(options.body, folder=options.folder)
    return regressors.load_regressor(options.model, body=body)


def _centred(model: "nn.Module", protocol: "Protocol") -> bool:
    """Whether pictures are drawn as the model's turned cameras see them, straight from full ones.

    Errors are the same there, but for V2V, which compares bodies where no camera stands.
    """
    return getattr(model, "centred", "none") == "minimal" and "v2v_mm" not in protocol.mesh_measures


def load_data(
    options: EvaluateOptions, protocol: "Protocol", body: "Body", *, centred: bool = False
) -> Any:
    """Samples from annotations with pictures, or from shards."""
    from meshreg.body.smpl import load_body
    from meshreg.data.people import PeopleInPictures, Pictures
    from meshreg.data.shard_reader import ShardReader

    if options.data.is_dir() and not any(options.data.glob("*.pkl")):
        return ShardReader(options.data, topology_hash=body.topology_hash)
    annotations = _chosen(_read(options), protocol)
    gendered = {}
    if protocol.gendered_truth:
        gendered = {
            gender: load_body(f"smpl_{gender}", folder=options.folder)
            for gender in sorted(set(annotations.genders) - {""})
        }
    folder = options.images if options.images is not None else options.data.parent
    return PeopleInPictures(
        annotations,
        Pictures(folder, focal=options.focal),
        body=body,
        gendered=gendered,
        centred=centred,
    )


def _read(options: EvaluateOptions) -> "Annotations":
    from meshreg.data.annotations import read_columns
    from meshreg.data.bedlam import bedlam_annotations, is_bedlam
    from meshreg.data.spin_npz import spin_annotations
    from meshreg.data.threedpw import read_threedpw

    if options.data.is_dir() or options.data.suffix == ".pkl":
        return read_threedpw(options.data)
    columns = read_columns(options.data, "an .npz of annotations in the format of SPIN or BEDLAM")
    read = bedlam_annotations if is_bedlam(columns) else spin_annotations
    return read(columns, options.data)


def _chosen(annotations: "Annotations", protocol: "Protocol") -> "Annotations":
    """Those people whose pictures the protocol measures."""
    import numpy as np

    rows = [i for i, name in enumerate(annotations.images) if protocol.pictures_named in name]
    if not rows:
        raise InputError(
            f"no picture of {annotations.source} has {protocol.pictures_named} in its name, as "
            f"{protocol.name} needs: use the data set's own file names."
        )
    return annotations.rows(np.array(rows))


def _regressors(
    options: EvaluateOptions, protocol: "Protocol", body: "Body"
) -> "dict[str, JointRegressor]":
    """Rows that do not come with the body."""
    from meshreg.body.regressor import JointRegressor

    if options.regressor is not None:
        return {H36M: JointRegressor.from_npy(options.regressor, H36M, body=body.data)}
    wanted = {joints.regressor for joints in protocol.joint_sets}
    if H36M in wanted and H36M not in body.data.regressors:
        raise InputError(
            f"{protocol.name} needs Human3.6M's joints, which {body.data.name} does not bring: "
            "give J_regressor_h36m.npy, which SPIN and others publish, as --regressor."
        )
    return {}


def _about(options: EvaluateOptions, body: "Body") -> dict[str, str]:
    """What was measured on what, for whoever reads the numbers later."""
    import meshreg

    return {
        "model": options.model.name,
        "data": options.data.name,
        "body": body.data.name,
        "topology": body.topology_hash,
        "meshreg": meshreg.__version__,
    }
