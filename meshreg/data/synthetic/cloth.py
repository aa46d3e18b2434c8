"""How far cloth stands off the body: thickness, hang, folds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.synthetic.coordinates import BodyCoordinates, ramp
from meshreg.data.synthetic.fields import Fitted, PackedOutfits, Worn
from meshreg.data.synthetic.garments import LAYER
from meshreg.data.synthetic.head import HeadCoordinates

EDGE = 0.002  # a layer reaches its full thickness this far inside its edge, metres
HAIR_EDGE = 0.02  # hair rises more slowly from the skin
# Radius of a loose sleeve around the bones at shoulder, elbow and wrist; of a loose trouser leg at
# hip, knee and ankle.
SLEEVE_RADIUS, SLEEVE_STATIONS = (0.074, 0.064, 0.052), (0.06, 0.258, 0.495)
LEG_RADIUS, LEG_STATIONS = (0.112, 0.093, 0.086), (0.10, 0.381, 0.817)
# Waves of the folds: radians per metre along left, up, front. Trunk and legs fold mostly downward.
WAVES = (
    (38.0, 10.0, 22.0),
    (-26.0, 17.0, 41.0),
    (55.0, -14.0, -31.0),
    (16.0, 48.0, 12.0),
    (-47.0, 27.0, -18.0),
)
FOLD_HEIGHT = 0.0035


@dataclass(frozen=True, eq=False)
class Standoff:
    """Where cloth lies over the body, before the pose is known."""

    solid: Float[Tensor, "P V"]  # thickness of everything worn, metres
    loose: Float[Tensor, "P V"]  # how far it hangs off, metres; shifts downward with gravity
    folds: Float[Tensor, "P V"]  # height of wrinkles that are always there, metres
    bends: Float[Tensor, "P V"]  # height of the folds of a fully bent elbow or knee, metres
    smooth: Float[Tensor, "P V"]  # 0 follows every dent of the body, 1 bridges them
    shoe: Float[Tensor, "P V"]  # 1 where a shoe gives the foot its form


def covered(field: Float[Tensor, "P V"], edge: float = EDGE) -> Float[Tensor, "P V"]:
    """1 inside a layer, 0 outside, a short ramp around its edge."""
    return ((field + edge) / (2 * edge)).clamp(0, 1)


def interpolated(values: Tensor, stations: tuple[float, ...], heights: tuple[float, ...]) -> Tensor:
    """Piecewise linear, constant beyond the ends."""
    result = torch.full_like(values, heights[0])
    for i in range(len(stations) - 1):
        t = ((values - stations[i]) / (stations[i + 1] - stations[i])).clamp(0, 1)
        result = result + (heights[i + 1] - heights[i]) * t
    return result


def fold_waves(at: BodyCoordinates, outfits: PackedOutfits) -> Float[Tensor, "P V"]:
    """Soft random wrinkles between -1 and 1, by the phases of what each person wears."""
    worn = outfits["top"]["phase"] + outfits["tucked"]["phase"] + outfits["bottom"]["phase"]
    total = torch.zeros_like(worn)
    for index, wave in enumerate(WAVES):
        turn = 6.2832 * torch.frac(worn * (index + 1) * 7.31)
        stretch = 0.7 + 0.6 * torch.frac(worn * (index + 2) * 3.77)
        along = at.rest @ at.rest.new_tensor(wave)
        total = total + torch.sin(along * stretch + turn)
    return total / len(WAVES) ** 0.5


def sleeve_hang(at: BodyCoordinates, fitted: Fitted, worn: Worn) -> Float[Tensor, "P V"]:
    """How far a sleeve stands off the arm."""
    radius = interpolated(fitted.arm, SLEEVE_STATIONS, SLEEVE_RADIUS)
    near_end = 1 - ((worn["sleeve"] - fitted.arm) / 0.12).clamp(0, 1)
    gathered = worn.is_one_of("sweater", "hoodie", "jacket") & (worn["sleeve"] > 0.3)
    cuff = torch.where(gathered, 1 - 0.85 * ramp(near_end, 0.55, 0.9), 1.0)
    gap = (radius + worn["flare"] * near_end - at.arm_radius).clamp(0, 0.05)
    return gap * cuff * ramp(fitted.arm, -0.02, 0.10)


def trunk_hang(at: BodyCoordinates, fitted: Fitted, worn: Worn) -> Float[Tensor, "P V"]:
    """How far a top hangs off waist and hips."""
    near_hem = 1 - ((-fitted.leg - worn["hem"]) / 0.25).clamp(0, 1)
    on_trunk = ramp(-fitted.arm, -0.03, 0.05)
    gathered = worn.is_one_of("hoodie", "sweater")
    band = torch.where(gathered, 1 - 0.8 * ramp(near_hem, 0.72, 0.9), 1.0)
    return (at.hang + (worn["flare"] + 0.006) * near_hem) * on_trunk * band


def trouser_hang(at: BodyCoordinates, fitted: Fitted, worn: Worn) -> Float[Tensor, "P V"]:
    """How far a trouser leg stands off the leg."""
    radius = interpolated(fitted.leg, LEG_STATIONS, LEG_RADIUS)
    near_end = 1 - ((worn["leg"] - fitted.leg) / 0.4).clamp(0, 1)
    gap = (radius + worn["flare"] * near_end - at.leg_radius).clamp(0, 0.07)
    return gap * ramp(fitted.leg, 0.06, 0.16)


def standoff(
    at: BodyCoordinates,
    head: HeadCoordinates,
    fitted: Fitted,
    outfits: PackedOutfits,
    fields: Float[Tensor, "P V L"],
    on_foot: Float[Tensor, " V"],
) -> Standoff:
    """Put the layers on, from the skin outward; `on_foot` is where shoes have their own form."""
    wrinkles = fold_waves(at, outfits)
    zero = torch.zeros_like(fitted.arm)
    solid, loose, folds, smooth, bends = zero, zero, zero, zero, zero
    for layer in ("socks", "tucked", "bottom", "top", "jacket"):
        worn = outfits[layer]
        inside = covered(fields[..., LAYER[layer]])
        freedom = worn["looseness"] * worn.on
        if layer == "bottom":
            hang = trouser_hang(at, fitted, worn)
            # A waistband gathers what is tucked into it.
            loose = loose * (1 - inside)
        elif layer == "socks":
            hang = zero
        else:
            hang = torch.maximum(trunk_hang(at, fitted, worn), sleeve_hang(at, fitted, worn))
        if layer == "jacket":
            inside = inside * into_tails(fitted, worn)
        height = FOLD_HEIGHT * (0.25 + freedom) * worn["wrinkles"] * wrinkles
        solid = solid + inside * worn["thickness"]
        loose = torch.maximum(loose, inside * freedom * hang)
        folds = folds + inside * (height - folds)
        smooth = torch.maximum(smooth, inside * (0.15 + 0.85 * freedom))
        bends = torch.maximum(bends, inside * (0.1 + freedom) * worn["wrinkles"])
    solid = skirt_room(fitted, outfits, fields, solid)
    solid, smooth = accessories(at, outfits, fields, solid, smooth)
    shoe = shoe_share(outfits, fields)
    solid, folds, smooth = hair_on_scalp(head, outfits, fields, (solid, folds, smooth), at)
    for layer in ("shoes", "boots"):
        inside = covered(fields[..., LAYER[layer]])
        solid = solid + inside * outfits[layer]["thickness"] * 0.5
        smooth = torch.maximum(smooth, 0.6 * inside)
        if layer == "boots":  # trousers are stuffed into them
            loose, folds = loose * (1 - inside), folds * (1 - inside)
    soft = 1 - shoe * on_foot
    return Standoff(
        solid * soft, loose * soft, folds * soft, bends * joint_rings(at), smooth * soft, shoe
    )


def into_tails(fitted: Fitted, worn: Worn) -> Float[Tensor, "P V"]:
    """A coat thins out towards its seam at the hips, where its tails take over."""
    return torch.where(worn.is_one_of("coat"), ramp(-fitted.leg - worn["hem"], 0.0, 0.13), 1.0)


def joint_rings(at: BodyCoordinates) -> Float[Tensor, " V"]:
    """Where cloth creases when elbows and knees bend: rings around the limb, 1 at their height."""
    arm, leg = (at.arm - SLEEVE_STATIONS[1]) / 0.08, (at.leg - LEG_STATIONS[1]) / 0.11
    on_leg = (at.arm < 0).to(arm)
    elbow = torch.exp(-(arm**2)) * torch.sin(at.arm * 100 + 25 * at.rest[:, 1])
    knee = torch.exp(-(leg**2)) * torch.sin(at.leg * 75 + 15 * at.rest[:, 0])
    return 0.008 * (elbow * (1 - on_leg) + knee * on_leg)


def skirt_room(
    fitted: Fitted, outfits: PackedOutfits, fields: Tensor, solid: Float[Tensor, "P V"]
) -> Float[Tensor, "P V"]:
    """Tops over a skirt keep off it, and a dress has thickness above its skirt's waist."""
    worn = outfits["skirt"]
    lining = covered(fields[..., LAYER["skirt"]])
    over = torch.maximum(covered(fields[..., LAYER["top"]]), covered(fields[..., LAYER["jacket"]]))
    over = over * ~outfits["top"].is_one_of("dress_top")
    return solid + lining * (0.004 + 0.016 * over * ramp(fitted.leg, -0.16, -0.08)) * worn.on


def accessories(
    at: BodyCoordinates, outfits: PackedOutfits, fields: Tensor, solid: Tensor, smooth: Tensor
) -> tuple[Float[Tensor, "P V"], Float[Tensor, "P V"]]:
    """Collars, scarf, gloves, glasses."""
    for layer in ("tucked", "top", "jacket"):
        worn = outfits[layer]
        collared = worn.is_one_of("shirt", "hoodie", "jacket", "coat")
        height = torch.where(worn.is_one_of("hoodie"), 0.022, 0.007)
        near = 1 - ramp(fields[..., LAYER[layer]], 0.02, 0.05)
        ring = near * ramp(at.neck, -0.10, -0.03) * covered(fields[..., LAYER[layer]])
        solid = solid + ring * height * collared
    inside = fields[..., LAYER["scarf"]]
    bulge = ramp(inside, -0.002, 0.03)
    solid = solid + bulge * 2 * outfits["scarf"]["thickness"]
    smooth = torch.maximum(smooth, bulge)
    for layer in ("gloves", "glasses"):
        inside = covered(fields[..., LAYER[layer]])
        solid = solid + inside * outfits[layer]["thickness"]
    return solid, smooth


def shoe_share(outfits: PackedOutfits, fields: Tensor) -> Float[Tensor, "P V"]:
    """1 where a shoe hides the toes."""
    shoes = fields[..., LAYER["shoes"]]
    return torch.maximum(covered(shoes), covered(fields[..., LAYER["boots"]]))


def hair_on_scalp(
    head: HeadCoordinates,
    outfits: PackedOutfits,
    fields: Tensor,
    surface: tuple[Tensor, Tensor, Tensor],
    at: BodyCoordinates,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hair and hats raise the scalp."""
    solid, folds, smooth = surface
    worn, hat = outfits["hair"], outfits["hat"]
    field = fields[..., LAYER["hair"]]
    thick = worn["thickness"]
    round_cut = ramp(thick, 0.025, 0.055)  # voluminous hair is cut to a ball
    thick = (thick + round_cut * head.ball).clamp(min=0.002)
    edge = torch.maximum(torch.full_like(thick, 0.006), 0.5 * worn["thickness"])
    volume = ((field / edge).clamp(0, 1) * (2 - (field / edge).clamp(0, 1))).sqrt() * thick
    under_hat = covered(fields[..., LAYER["hat"]], 0.006)
    volume = volume * (
        1 - (0.6 - 0.4 * round_cut) * ramp(head.crown, 0.13, 0.2)
    )  # less at the nape
    volume = volume * (1 - under_hat * (1 - 0.003 / thick.clamp(min=0.003)))
    phase = 6.2832 * worn["phase"]
    x, y, z = at.rest.unbind(1)
    locks = torch.sin(95 * x + 60 * z + phase) * torch.sin(80 * y - 70 * z + 2 * phase)
    folds = folds + 0.14 * volume.clamp(max=0.025) * locks * worn["wrinkles"]
    smooth = torch.maximum(smooth, ramp(volume, 0.004, 0.02))
    crown = torch.where(hat.is_one_of("beanie"), 1.0, 0.7)
    solid = solid + volume + under_hat * hat["thickness"] * crown
    smooth = torch.maximum(smooth, under_hat)
    return solid, folds, smooth
