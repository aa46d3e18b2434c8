"""`meshreg doctor`: is everything there that a fit needs, and which version of it."""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from meshreg.cli.models import body_table
from meshreg.cli.options import DoctorOptions

NEEDED = (
    "torch",
    "numpy",
    "smplx",
    "warp-lang",
    "trimesh",
    "roma",
    "pillow",
    "safetensors",
    "jaxtyping",
    "jsonargparse",
)
OPTIONAL = {
    "opencv-python": "image processing (or opencv-python-headless)",
    "opencv-python-headless": "image processing (or opencv-python)",
    "anny": "`meshreg models bake`: pip install 'meshreg[bake]'",
    "pytorch3d": "an alternative rasteriser; build it from source as its own guide says",
}


def run_doctor(options: DoctorOptions) -> int:
    """Print versions, devices and bodies, and try the rasteriser; 1 if something needed fails."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"python {platform.python_version()} on {platform.platform()}")
    missing = [name for name in NEEDED if not _print_version(console.print, name)]
    for name, purpose in OPTIONAL.items():
        if not _print_version(console.print, name):
            console.print(f"  ({name} is not installed; it is for {purpose})")
    if missing:
        console.print(f"missing: {', '.join(missing)}; install with: pip install meshreg")
        return 1
    import torch

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    console.print(f"GPUs: {', '.join(devices) or 'none, everything runs on the CPU'}")
    console.print(body_table(options.folder))
    works, report = _try_rasteriser()
    console.print(report)
    return 0 if works else 1


def _print_version(show: Callable[[str], None], name: str) -> bool:
    try:
        show(f"  {name} {version(name)}")
    except PackageNotFoundError:
        return False
    return True


def _try_rasteriser() -> tuple[bool, str]:
    """Render the built-in body and compare the area with what its size predicts."""
    import torch

    from meshreg.body.smpl import load_body
    from meshreg.render.rasterizer import rasterizer

    body = load_body()
    upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    vertices = body.v_template @ upright + torch.tensor([0.0, 0.0, 3.0])
    K = torch.tensor([[120.0, 0.0, 63.5], [0.0, 120.0, 63.5], [0.0, 0.0, 1.0]])
    fragments = rasterizer().fragments(vertices[None], body.faces, K[None], (128, 128))
    covered = int((fragments.pix_to_face >= 0).sum())
    height = float(vertices[:, 1].max() - vertices[:, 1].min()) * 120 / 3
    works = height * height / 8 < covered < height * height
    state = "works" if works else "DOES NOT WORK"
    return works, f"rasteriser {state}: the body, {height:.0f} px tall, covers {covered} pixels"
