"""Bare skin and hair: tone, eyes, brows, lips, beard and strands, painted by place on the body."""

import torch
from torch import Tensor

from meshreg.data.synthetic.fabric import Skin
from meshreg.data.synthetic.looks import Heads
from meshreg.data.synthetic.noise import fractal_noise, value_noise
from meshreg.data.synthetic.patterns import step
from meshreg.data.synthetic.points import Points

# The average built-in body in T-pose, metres. Its features were measured on close-up pictures;
# eyes agree with the body's landmark vertices.
EYE, EYE_HALF = (0.0305, 0.6130), (0.0135, 0.0058)
IRIS_RADIUS, PUPIL_RADIUS = 0.0060, 0.0026
BROW_Y, MOUTH_Y, MOUTH_HALF = 0.6325, 0.5445, 0.0255
NOSTRIL = (0.0095, 0.5705)
FACE_Z = 0.075  # the face lies in front of this
HAND_X, NECK_Y = 0.70, 0.50
# Skin absorbs by melanin and blood: exp(-density * absorption) of what deeper layers send back.
_PALE = (0.76, 0.60, 0.51)
_MELANIN, _BLOOD = (1.0, 1.30, 1.68), (0.05, 0.46, 0.42)
_FLOOR = (0.018, 0.016, 0.015)


def skin_tone(melanin: Tensor, blood: Tensor) -> Tensor:
    """Linear RGB of skin; melanin 0..1 runs evenly from the palest people to the darkest."""
    density = 0.08 + 2.6 * melanin**1.45
    pale, dark, red, floor = (
        melanin.new_tensor(values) for values in (_PALE, _MELANIN, _BLOOD, _FLOOR)
    )
    absorbed = density[..., None] * dark + blood[..., None] * red
    return floor + pale * torch.exp(-absorbed)


def bare_skin(points: Points, head: Heads) -> Skin:
    """The look of skin, with a face in front of the head; one row of `head` per point."""
    x, y, z = points.rest.unbind(-1)
    face = (z > FACE_Z) & (y > NECK_Y) & (x.abs() < 0.075)
    seed = head.seed
    mottle = fractal_noise(points.rest * 28, seed=seed, octaves=2)
    tan = value_noise(points.rest * 3.5, seed=seed + 1)
    melanin = (head.melanin * (1 + 0.05 * tan) + 0.012 * mottle).clamp(0, 1.1)
    melanin = melanin * (1 - 0.45 * _palms(points)) + 0.05 * head.melanin * _joints(points)
    spots = value_noise(points.rest * 330, seed=seed + 2)
    freckled = (
        head.freckles * ((spots - 0.4) * 3).clamp(0, 1) * ((y - 0.53) * 12).clamp(0, 1) * face
    )
    melanin = melanin + 0.16 * freckled * (1 - points.footprint * 250).clamp(0, 1)
    blood = (
        0.22 + 0.35 * head.blood + 0.07 * mottle + 0.35 * _flush(points) + 0.25 * _joints(points)
    )
    albedo = skin_tone(melanin, blood.clamp(min=0))
    nails = _nails(points)
    albedo = albedo + 0.3 * nails[:, None] * (albedo.new_tensor((0.75, 0.5, 0.45)) - albedo)
    gloss = torch.full_like(x, 0.58)
    index = face.nonzero()[:, 0]
    albedo[index], gloss[index] = _face(points.at(index), head.at(index), albedo[index])
    return Skin(
        albedo=albedo.clamp(0.004, 0.9),
        roughness=gloss,
        specular=0.016 + 0.010 * head.shine,
        sheen=torch.full_like(x, 0.02),
        softness=torch.ones_like(x),
        relief=2.5e-4 * mottle,
    )


def _bump(points: Points, centre: tuple[float, float, float], radius: float) -> Tensor:
    """A soft blob around a place and its mirror image."""
    x, y, z = points.rest.unbind(-1)
    square = (x.abs() - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    return torch.exp(-square / radius**2)


def _flush(points: Points) -> Tensor:
    """Where blood shows: cheeks, the tip of the nose, ears."""
    cheeks = _bump(points, (0.042, 0.585, 0.125), 0.024)
    return (
        cheeks
        + 0.8 * _bump(points, (0.0, 0.575, 0.165), 0.016)
        + _bump(points, (0.073, 0.6, 0.045), 0.03)
    )


def _joints(points: Points) -> Tensor:
    """Knees, elbows and knuckles: a little redder and darker."""
    knee = _bump(points, (0.122, -0.46, 0.05), 0.05) + _bump(points, (0.44, 0.385, -0.05), 0.035)
    return knee + 0.8 * _bump(points, (0.78, 0.40, -0.02), 0.04)


def _palms(points: Points) -> Tensor:
    """1 on palms and soles, which hold little melanin. In T-pose palms face down."""
    x, y, _ = points.rest.unbind(-1)
    palm = ((x.abs() - HAND_X) * 40).clamp(0, 1) * (
        (0.392 - (x.abs() - 0.7) * 0.22 - y) * 90
    ).clamp(0, 1)
    return palm + ((-0.965 - y) * 100).clamp(0, 1)


def _nails(points: Points) -> Tensor:
    tips = points.rest.new_tensor(
        [
            (0.852, 0.358, 0.022),
            (0.863, 0.362, -0.023),
            (0.847, 0.364, -0.056),
            (0.811, 0.367, -0.073),
        ]
    )
    hand = torch.cat([points.rest[:, :1].abs(), points.rest[:, 1:]], 1)
    near = [torch.exp(-(hand - tip).square().sum(-1) / 0.007**2) for tip in tips]
    return torch.stack(near).amax(0)


def _face(points: Points, head: Heads, skin: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the face over its skin colour, and their roughness."""
    x, y, _ = points.rest.unbind(-1)
    side = x.abs()
    # Features thinner than a pixel would flicker: the filter is never narrower than the pixel.
    blur = points.footprint.clamp(min=0.0008)
    gloss = torch.full_like(x, 0.52)
    color = _mix(skin, skin * 0.45, 0.75 * _shadows(points))
    color = _beard(points, head, color)
    color, gloss = _lips(points, head, color, gloss)
    color = _brows(points, head, color)
    # --- eyes: white, iris, pupil, then lids over them -------------------------------------------
    u, v = (side - EYE[0]) / EYE_HALF[0], (y - EYE[1] - 0.0006) / (EYE_HALF[1] * head.eye_open)
    width = blur / EYE_HALF[1]
    rim = 1 - u.square() - v.abs() ** 1.6
    opened = step(rim * 0.5, width)
    off = torch.hypot(side - EYE[0] + 0.0004, y - EYE[1] - 0.0012)
    ball = torch.full_like(color, 0.58) * color.new_tensor((1.0, 0.93, 0.88))
    ball = _mix(ball, ball * 0.5, (v * 0.9).clamp(0, 1))  # the upper lid's shadow
    ball = _mix(ball, head.iris, step(IRIS_RADIUS - off, blur))
    ball = _mix(
        ball, head.iris * 0.3, step(0.0011 - (off - IRIS_RADIUS + 0.0006).abs(), blur) * 0.8
    )
    ball = _mix(ball, ball * 0 + 0.006, step(PUPIL_RADIUS - off, blur))
    color = _mix(color, ball, opened)
    lash = step(0.16 - (rim - 0.06).abs() * 0.5, width) * (v > -0.15) + 0.35 * (v <= -0.15) * step(
        0.10 - rim.abs() * 0.5, width
    )
    near = ((u.abs() < 1.25) & (v.abs() < 1.7)).float()
    color = _mix(color, color * 0 + 0.012, (lash * head.lash * near).clamp(0, 0.95))
    lid = step(0.0009 - (y - EYE[1] - 0.0098 + 0.0035 * u.square()).abs(), blur) * (u.abs() < 1.1)
    color = _mix(color, color * 0.45, 0.7 * lid)
    return color, torch.where(opened > 0.5, 0.12, gloss)


def _mix(under: Tensor, over: Tensor, share: Tensor) -> Tensor:
    return under + (over - under) * share[:, None]


def _shadows(points: Points) -> Tensor:
    """Nostrils, the mouth's corners, the sockets: where light hardly reaches."""
    x, y, _ = points.rest.unbind(-1)
    side = x.abs()
    nostril = torch.exp(-(((side - NOSTRIL[0]) / 0.0042) ** 2) - ((y - NOSTRIL[1]) / 0.0026) ** 2)
    socket = torch.exp(-(((side - 0.024) / 0.014) ** 2) - ((y - 0.6235) / 0.0065) ** 2)
    bag = torch.exp(-(((side - 0.03) / 0.012) ** 2) - ((y - 0.602) / 0.004) ** 2)
    wing = torch.exp(-(((side - 0.0185) / 0.003) ** 2) - ((y - 0.576) / 0.007) ** 2)
    return (1.0 * nostril + 0.35 * socket + 0.18 * bag + 0.25 * wing).clamp(0, 1)


def _lips(points: Points, head: Heads, color: Tensor, gloss: Tensor) -> tuple[Tensor, Tensor]:
    x, y, _ = points.rest.unbind(-1)
    t = (x.abs() / MOUTH_HALF).clamp(max=1.2)
    blur = points.footprint.clamp(min=0.0010)
    line = MOUTH_Y - 0.0014 * t.square()
    bow = 0.0074 * (1 - t.square()) * (1 + 0.25 * (1 - (3.2 * t - 0.9).square()).clamp(min=-0.35))
    full = 0.0108 * (1 - t.square())
    top, bottom = line + bow - y, y - (line - full)
    inside = step(torch.minimum(top, bottom), blur) * step((1 - t) * MOUTH_HALF, blur)
    red = color * color.new_tensor((0.90, 0.54, 0.60))
    red = _mix(red, head.lips, head.lipstick * 0.8)
    color = _mix(color, red, 0.85 * inside)
    parting = step(0.0011 - (y - line).abs(), blur) * step((1.02 - t) * MOUTH_HALF, blur)
    color = _mix(color, color * 0.22, 0.85 * parting)
    return color, torch.where(inside > 0.5, 0.44, gloss)


def _brows(points: Points, head: Heads, color: Tensor) -> Tensor:
    x, y, _ = points.rest.unbind(-1)
    t = (x.abs() - 0.0105) / 0.038  # 0 at the nose, 1 at the temple
    blur = points.footprint.clamp(min=0.0012)
    arch = BROW_Y + 0.0055 * (1 - (2.9 * (t - 0.62)).square() * 0.35)
    half = 0.0038 * head.brow * (1.15 - 0.75 * t.clamp(0, 1.1))
    hairs = 0.8 + 0.35 * value_noise(points.rest * 420, seed=head.seed + 3)
    inside = (
        step(half - (y - arch).abs(), blur) * step(t * 0.038, blur) * step((1 - t) * 0.038, blur)
    )
    dark = torch.minimum(head.hair * 0.8, color * 0.55)
    return _mix(color, dark, (inside * hairs * 0.85).clamp(0, 1))


def _beard(points: Points, head: Heads, color: Tensor) -> Tensor:
    """Stubble or a beard below the cheekbones, or only around the mouth."""
    x, y, z = points.rest.unbind(-1)
    side = x.abs()
    edge = 0.557 - 0.25 * (side - 0.03).clamp(min=0) + 1.1 * (side - 0.05).clamp(min=0)
    jaw = ((edge - y) * 130).clamp(0, 1) * ((y - 0.497) * 100 + (z - 0.10) * 30).clamp(0, 1)
    lip = torch.exp(-((side / 0.03) ** 4) - ((y - 0.5585) / 0.0065) ** 4)
    under = torch.exp(-(((y - 0.5405) / 0.008) ** 2) - (side / 0.022) ** 4)
    full = torch.maximum(jaw * (1 - under), lip)
    chin = torch.maximum(lip, jaw * torch.exp(-((side / 0.027) ** 6)) * (1 - under))
    shape = torch.where(head.beard_shape == 1, lip, torch.where(head.beard_shape == 2, chin, full))
    hairs = 0.75 + 0.5 * value_noise(points.rest * 380, seed=head.seed + 4)
    return _mix(
        color, torch.minimum(head.hair, color * 0.6), (shape * hairs * head.beard).clamp(0, 0.9)
    )


def hair(points: Points, head: Heads) -> Skin:
    """Strands that fall from the crown; gloss lies in a ring around the head."""
    x, y, z = points.rest.unbind(-1)
    turn = torch.atan2(x, z - 0.03)
    fall = (0.73 - y) + 0.3 * torch.hypot(x, z - 0.03)
    wave = value_noise(torch.stack([turn * 2, fall * 14], -1), seed=head.seed)
    lock = value_noise(torch.stack([turn * 14 + wave, fall * 9], -1), seed=head.seed + 1)
    cells = torch.stack([turn * 45 + 2 * wave, fall * 12], -1)
    strand = value_noise(cells, seed=head.seed + 2)
    strand = strand * (1.2 - points.footprint * 130).clamp(0, 1)
    tip = (0.25 + 0.35 * lock + 0.35 * strand + fall.clamp(0, 0.6) * 0.8).clamp(0, 1)
    albedo = _mix(head.hair, head.hair_tip, tip) * (1 + 0.35 * lock + 0.35 * strand)[:, None]
    return Skin(
        albedo=albedo.clamp(0.004, 0.85),
        roughness=0.62 + 0.1 * strand,
        specular=torch.full_like(x, 0.022),
        sheen=torch.full_like(x, 0.05),
        softness=torch.zeros_like(x),
        relief=2.6e-3 * lock + 0.25e-3 * strand,
    )
