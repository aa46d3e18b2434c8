"""meshreg: from pictures of people to SMPL body meshes and 3D skeletons.

Public names are imported on first use, so that `import meshreg` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from meshreg.body.assets import load_body_data as load_body_data
    from meshreg.body.regressor import JointRegressor as JointRegressor
    from meshreg.body.skeleton import Skeleton as Skeleton
    from meshreg.body.smpl import Body as Body
    from meshreg.body.smpl import load_body as load_body
    from meshreg.evaluate.run import evaluate_model as evaluate_model
    from meshreg.export import save_glb as save_glb
    from meshreg.export import save_npz as save_npz
    from meshreg.fit.smplify import fit_body as fit_body
    from meshreg.geometry.cameras import Camera as Camera
    from meshreg.geometry.cameras import project as project
    from meshreg.models.hmr import HMR as HMR
    from meshreg.predictor.person import Person as Person
    from meshreg.predictor.regress import Predictor as Predictor
    from meshreg.predictor.regress import load_model as load_model
    from meshreg.render.overlay import draw_overlay as draw_overlay
    from meshreg.render.rasterizer import rasterizer as rasterizer

_HOME = {
    "Body": "meshreg.body.smpl",
    "Camera": "meshreg.geometry.cameras",
    "HMR": "meshreg.models.hmr",
    "JointRegressor": "meshreg.body.regressor",
    "Person": "meshreg.predictor.person",
    "Predictor": "meshreg.predictor.regress",
    "Skeleton": "meshreg.body.skeleton",
    "draw_overlay": "meshreg.render.overlay",
    "evaluate_model": "meshreg.evaluate.run",
    "fit_body": "meshreg.fit.smplify",
    "load_body": "meshreg.body.smpl",
    "load_body_data": "meshreg.body.assets",
    "load_model": "meshreg.predictor.regress",
    "project": "meshreg.geometry.cameras",
    "rasterizer": "meshreg.render.rasterizer",
    "save_glb": "meshreg.export",
    "save_npz": "meshreg.export",
}
__all__ = ["__version__", *_HOME]  # noqa: PLE0604 (the names are strings; ruff cannot see it)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'meshreg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
