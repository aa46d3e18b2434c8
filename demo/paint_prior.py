"""Paint a semantic prior on the body: what is worn where most often, and how often skin shows.

Run: `python demo/paint_prior.py [prior.safetensors] --out prior.png`
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import normalize, pad

from meshreg.body.smpl import Body, load_body
from meshreg.clothing.groups import minimally_clothed
from meshreg.clothing.labels import PALETTE, Label
from meshreg.clothing.prior import SemanticPrior, load_semantic_prior
from meshreg.errors import InputError
from meshreg.export import save_image
from meshreg.geometry.cameras import camera_from_fov
from meshreg.render.annotate import INK, PAPER, contact_sheet
from meshreg.render.painting import Painter, Samples, Scene, paint, scene_of
from meshreg.render.rasterizer import Rasterizer, rasterizer
from meshreg.render.shading import GAMMA, sample_normals, shade

SIZE = (640, 560)  # height and width of each panel
FOV_DEG = 22.0
ARMS_DOWN = 0.9  # radians, so that the body fills the panel
# From always dressed to always bare, as display RGB.
RAMP = ((40, 48, 96), (120, 80, 130), (214, 120, 100), (250, 214, 150))
LEAST_SHARE = 0.002  # of the surface; labels that are on top of less are left out of the legend


def main() -> int:
    """Read the prior and its body, paint, save."""
    parser = argparse.ArgumentParser(description="Paint a semantic prior on the body.")
    parser.add_argument("prior", nargs="?", type=Path, help="default: the one of meshreg")
    parser.add_argument("--out", type=Path, default=Path("prior.png"))
    parser.add_argument("--body", default="builtin", help="the body that the prior is made for")
    parser.add_argument("--folder", type=Path, default=Path("body_models"))
    options = parser.parse_args()
    try:
        body = load_body(options.body, folder=options.folder)
        prior = load_semantic_prior(options.prior, body=body)
        save_image(options.out, prior_sheet(prior, body))
    except InputError as error:
        sys.stderr.write(f"paint_prior: error: {error}\n")
        return 2
    print(f"wrote {options.out}; the prior: {prior.recipe} (licence: {prior.licence})")
    return 0


def prior_sheet(prior: SemanticPrior, body: Body) -> np.ndarray:
    """Front and back, coloured by the likeliest label and by the probability of bare skin."""
    backend = rasterizer()
    skin = prior.group(minimally_clothed())[:, 1:2]
    panels, titles = [], []
    for azimuth, side in ((0.0, "front"), (180.0, "back")):
        verts = _placed(body, azimuth)
        for values, color, what in (
            (prior.probs, _label_color, "likeliest label"),
            (skin, _ramp_color, "bare skin: dark never, bright always"),
        ):
            panels.append(_panel(verts, body.faces, values, color, backend))
            titles.append(f"{what}, {side}")
    order = [0, 2, 1, 3]
    sheet = contact_sheet(
        [panels[i] for i in order], titles=[titles[i] for i in order], columns=2, height=SIZE[0]
    )
    return np.concatenate([sheet, _legend(prior, sheet.shape[1])])


def _placed(body: Body, azimuth_deg: float) -> Tensor:
    """The standing body before the camera, arms lowered."""
    pose = torch.zeros(1, 24, 3)
    pose[0, 16, 2], pose[0, 17, 2] = -ARMS_DOWN, ARMS_DOWN
    out = body(
        torch.zeros(1, body.num_betas), roma.rotvec_to_rotmat(pose), torch.zeros(1, 3)
    ).vertices[0]
    centred = out - (out.amin(0) + out.amax(0)) / 2
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, np.radians(azimuth_deg), 0.0]))
    half_height = float(centred[:, 1].abs().max())
    distance = 1.08 * half_height / np.tan(np.radians(FOV_DEG) / 2)
    return (centred @ turn.T.float()) * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor(
        [0.0, 0.0, distance]
    )


def _label_color(probs: Tensor) -> Tensor:
    """The colour of the likeliest label, decided at every sample: borders stay sharp."""
    return (torch.tensor(PALETTE) / 255)[probs.argmax(1)]


def _ramp_color(share: Tensor) -> Tensor:
    stops = torch.tensor(RAMP) / 255
    place = share[:, 0].clamp(0, 1) * (len(stops) - 1)
    low = place.long().clamp(max=len(stops) - 2)
    return torch.lerp(stops[low], stops[low + 1], (place - low)[:, None])


def _panel(
    verts: Tensor,
    faces: Tensor,
    values: Tensor,
    color: Callable[[Tensor], Tensor],
    backend: Rasterizer,
) -> np.ndarray:
    def painted(scene: Scene, samples: Samples) -> Tensor:
        toward_eye = normalize(samples.mix(scene, normalize(-scene.verts_cam, dim=1)), dim=1)
        albedo = (0.08 + 0.84 * color(samples.mix(scene, values))) ** GAMMA
        return pad(shade(sample_normals(scene, samples), toward_eye, albedo), (0, 1), value=1.0)

    painter: Painter = painted
    canvas = np.full((*SIZE, 3), PAPER, np.uint8)
    K = camera_from_fov(FOV_DEG, SIZE, axis="y").K
    scene = scene_of(verts, faces, None)
    paint(canvas, scene, K, painter, alpha=1.0, supersample=2, rasterizer=backend)
    return canvas


def _legend(prior: SemanticPrior, width: int) -> np.ndarray:
    """Names and colours of the labels that are likeliest somewhere."""
    share = torch.bincount(prior.probs.argmax(1), minlength=len(Label)) / len(prior.probs)
    shown = [label for label in Label if share[label] >= LEAST_SHARE]
    columns, pitch = 6, 30
    rows = -(-len(shown) // columns)
    strip = Image.new("RGB", (width, rows * pitch + 10), (PAPER,) * 3)
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size=17)
    for i, label in enumerate(shown):
        x, y = 16 + (i % columns) * (width - 20) // columns, 4 + (i // columns) * pitch
        pen.rectangle((x, y, x + 20, y + 20), fill=PALETTE[label], outline=INK)
        pen.text((x + 28, y + 10), label.title, fill=INK, font=font, anchor="lm")
    return np.asarray(strip)


if __name__ == "__main__":
    sys.exit(main())
