"""Cloth seen close: what colour, gloss and relief each point of a garment has."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.looks import DETAILS, PATTERNS, Cloths
from meshreg.data.synthetic.noise import value_noise
from meshreg.data.synthetic.patterns import Spot, band, present, shares, step
from meshreg.data.synthetic.points import LEG, SLEEVE, TORSO, Panels, Points, panels

_DENIM = PATTERNS.index("denim")
SHOES = (Label.LEFT_SHOE, Label.RIGHT_SHOE)
# Where cloth bunches up on the average body in T-pose: along which panel, and how far it spreads.
_CREASED = {
    TORSO: ((0.10, 0.07), (-0.05, 0.06), (0.33, 0.06)),  # waist, hips, armpits
    SLEEVE: ((-0.438, 0.07), (-0.22, 0.05), (-0.64, 0.05)),  # elbow, armpit, cuff
    LEG: ((-0.47, 0.09), (-0.10, 0.07), (-0.86, 0.09)),  # knee, crotch, ankle
}


@dataclass(frozen=True, eq=False)
class Skin:
    """What light meets at each point, be it cloth, skin or hair."""

    albedo: Float[Tensor, "N 3"]  # linear RGB
    roughness: Float[Tensor, " N"]
    specular: Float[Tensor, " N"]  # reflectance seen head on
    sheen: Float[Tensor, " N"]  # brightening of grazing views by fuzz
    softness: Float[Tensor, " N"]  # how much light scatters beneath the surface; 1 is skin
    relief: Float[Tensor, " N"]  # height above the smooth surface, metres


def weave(points: Points, cloth: Cloths) -> Skin:
    """The look of garments at points on them; `cloth` holds one row per point."""
    flat = panels(points)
    shoe = (points.label == SHOES[0]) | (points.label == SHOES[1])
    spot = Spot(cloth, flat, points.rest, points.footprint, shoe.float())
    albedo = _colors(spot)
    albedo = albedo * _wear(spot)[:, None]
    dark, shiny = _details(spot)
    albedo = albedo * (1 - 0.65 * dark)[:, None]
    albedo = albedo + shiny[:, None] * (0.45 - albedo)
    return Skin(
        albedo=albedo.clamp(0.004, 0.9),
        roughness=cloth.roughness,
        specular=cloth.specular,
        sheen=cloth.sheen,
        softness=torch.zeros_like(cloth.sheen),
        relief=_creases(points, flat, cloth) + _knit(spot) - 6e-4 * dark,
    )


def _colors(spot: Spot) -> Float[Tensor, "N 3"]:
    mix = torch.zeros_like(spot.rest)
    mix[:, 0] = 1
    for kind in present(spot.cloth.pattern):
        if kind == 0:
            continue
        index = (spot.cloth.pattern == kind).nonzero()[:, 0]
        flat = spot.flat
        part = Spot(
            spot.cloth.at(index),
            Panels(flat.around[index], flat.along[index], flat.panel[index], flat.angle[index]),
            spot.rest[index],
            spot.blur[index],
            spot.shoe[index],
        )
        mix[index] = shares(part, kind)
    one, two, three = mix.split(1, dim=-1)
    return one * spot.cloth.first + two * spot.cloth.second + three * spot.cloth.third


def _wear(spot: Spot) -> Float[Tensor, " N"]:
    """Brightness changes of real cloth: blotches everywhere, faded thighs on jeans."""
    blotch = value_noise(spot.rest * 9, seed=spot.cloth.seed + 5)
    grain = value_noise(spot.rest * 60, seed=spot.cloth.seed + 6)
    wear = 1 + spot.cloth.wear * (0.5 * blotch + 0.4 * grain)
    x, y, z = spot.rest.unbind(-1)
    thigh = torch.exp(-(((y + 0.27) / 0.16) ** 2) - ((x.abs() - 0.1) / 0.05) ** 2) * (z > 0)
    faded = (spot.cloth.pattern == _DENIM) & (spot.flat.panel != SLEEVE)
    return wear * (1 + faded * spot.cloth.wear * 2.2 * thigh)


def _knit(spot: Spot) -> Float[Tensor, " N"]:
    """Ribs of knitted cloth, where pixels can show them."""
    ripple = (spot.around * (2 * math.pi)).sin()
    visible = (1.2 - 3 * spot.blur / spot.cloth.repeat).clamp(0, 1)
    return spot.cloth.ribs * ripple * visible


def _creases(points: Points, flat: Panels, cloth: Cloths) -> Float[Tensor, " N"]:
    """Wrinkles: ridges that run around limbs near the joints, and long soft folds elsewhere."""
    bunch = torch.full_like(flat.along, 0.30)
    for panel, places in _CREASED.items():
        for centre, spread in places:
            near = torch.exp(-(((flat.along - centre) / spread) ** 2))
            bunch = bunch + 0.8 * near * (flat.panel == panel)
    cells = torch.stack([flat.around * 9, flat.along * 15, flat.panel * 7.0], -1)
    bend = value_noise(points.rest * 6, seed=cloth.seed)
    slanted = cells + torch.stack([bend, 2.2 * bend, 0 * bend], -1)
    ridge = value_noise(slanted, seed=cloth.seed + 2)
    ridge = 1 - 2 * (ridge.square() + 0.02).sqrt()  # rounded along its crest
    fine = value_noise(slanted * 2.3, seed=cloth.seed + 3)
    fine = fine * (1.5 - 40 * points.footprint).clamp(0, 1)
    return cloth.crease * bunch * (3.4 * ridge + 1.0 * fine + 3.0 * bend)


def _line(distance: Tensor, width: float, blur: Tensor) -> Tensor:
    """Share of a pixel covered by a line of this width (metres)."""
    inside = step(width / 2 - distance.abs(), torch.maximum(blur, torch.full_like(blur, width)))
    return inside * (width / blur).clamp(max=1)


def _details(spot: Spot) -> tuple[Tensor, Tensor]:
    """Seams and openings that darken cloth, and metal or buttons that brighten it."""
    angle, along, blur = spot.flat.angle, spot.flat.along, spot.blur
    panel, front = spot.flat.panel, spot.rest[:, 2] > 0
    x = spot.rest[:, 0]
    torso, leg = panel == TORSO, panel == LEG
    radius = torch.where(torso, 0.15, 0.06)
    dark = 0.6 * _line((angle.abs() - math.pi / 2) * radius, 0.003, blur)
    dark = dark * (spot.shoe == 0)
    shiny = torch.zeros_like(dark)

    def worn(name: str) -> Bool[Tensor, " N"]:
        return spot.cloth.detail == DETAILS.index(name)

    middle = torso & front
    placket = _line(x.abs() - 0.016, 0.003, blur) * (x > 0) + 0.5 * _line(x + 0.016, 0.002, blur)
    spacing = along / 0.088
    button = step(0.0058 - torch.hypot(x, (spacing - spacing.floor() - 0.5) * 0.088), blur)
    pocket = torch.maximum((x - 0.085).abs() - 0.048, (along - 0.255).abs() - 0.055)
    shirt = worn("buttons") & middle
    dark = dark + shirt * (placket + 0.8 * _line(pocket, 0.003, blur))
    shiny = shiny + shirt * button * 0.7
    zipped = worn("zip") & middle
    dark = dark + zipped * _line(x.abs() - 0.007, 0.003, blur)
    shiny = shiny + zipped * band(along * 150, 0.5, blur * 150) * step(0.004 - x.abs(), blur)
    side = torch.hypot((x.abs() - 0.165) * 0.9, along - 0.04)
    jeans = (worn("jeans") | worn("trousers")) & (torso | leg)
    slash = _line(side - 0.095, 0.004, blur) * front * (along < 0.04) * (along > -0.1)
    fly = _line(x - 0.018, 0.003, blur) * front * (along > -0.09) * (along < 0.06)
    square = torch.maximum((x.abs() - 0.075).abs() - 0.052, (along + 0.06).abs() - 0.06)
    square = _line(square, 0.004, blur) * ~front
    dark = dark + jeans * (slash + fly + square * worn("jeans"))
    crease = _line(angle * 0.06, 0.004, blur) * leg * worn("trousers")
    shiny = shiny + 0.12 * crease
    return (dark + _laces(spot) * worn("laces")).clamp(0, 1), shiny.clamp(0, 1)


def _laces(spot: Spot) -> Float[Tensor, " N"]:
    """Laces across the instep and the edge where the sole begins."""
    x, y, z = spot.rest.unbind(-1)
    rows = band(z / 0.014, 0.4, spot.blur / 0.014)
    instep = step(0.016 - (x.abs() - 0.108).abs(), spot.blur) * (y > -0.945) * (z > 0) * (z < 0.08)
    sole = _line(y + 0.962, 0.004, spot.blur)
    return (0.4 * rows * instep + 0.8 * sole) * spot.shoe
