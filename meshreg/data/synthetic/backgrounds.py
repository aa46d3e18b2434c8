"""What lies behind people: sampled places seen by the picture's own camera, in linear light."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from meshreg.data.synthetic import scenery
from meshreg.data.synthetic.blur import blur_picture
from meshreg.data.synthetic.lights import Lights, level_axes
from meshreg.data.synthetic.noise import fractal_noise
from meshreg.data.synthetic.points import rays
from meshreg.data.synthetic.scenery import FIRST_BOX, GROUND, KINDS, SKYLINE, WALLS, Scene
from meshreg.data.synthetic.shadows import ShadowMap
from meshreg.data.synthetic.textures import Surfaces, stack_materials, textured

_TREES = 30.0  # metres to the skyline
_ABSTRACT = KINDS.index("abstract")
_SKY = -1  # material of pixels that hit nothing


@dataclass(frozen=True, eq=False)
class View:
    """Where the camera stands in each picture."""

    K: Float[Tensor, "B 3 3"]
    up: Float[Tensor, "B 3"]  # the world's vertical in the camera's frame, unit
    height: Float[Tensor, " B"]  # of the camera above the ground, metres
    distance: Float[Tensor, " B"]  # of the subject along the optical axis, metres


@dataclass(frozen=True, eq=False)
class Backdrop:
    """Pictures without people."""

    rgb: Float[Tensor, "B H W 3"]  # linear
    depth: Float[Tensor, "B H W"]  # along the optical axis, metres; 0 where there is no place
    is_ground: Float[Tensor, "B H W"]  # 1 on the floor or ground


def render_scenes(
    scenes: Sequence[Scene],
    view: View,
    lights: Lights,
    size: tuple[int, int],
    *,
    coarse: int = 2,
) -> Backdrop:
    """See each scene with its picture's camera.

    Every `coarse`th pixel is computed and those between are interpolated: backgrounds are soft.
    """
    small = (-(-size[0] // coarse), -(-size[1] // coarse))
    thumb = _render(scenes, replace(view, K=_shrunk(view.K, coarse)), lights, small)
    if coarse == 1:
        return thumb
    layers = _smoothed(thumb.rgb.permute(0, 3, 1, 2))
    rgb = interpolate(layers, scale_factor=coarse, mode="bilinear", align_corners=False)

    def enlarged(image: Tensor) -> Tensor:
        wide = image.repeat_interleave(coarse, 1).repeat_interleave(coarse, 2)
        return wide[:, : size[0], : size[1]]

    rgb = rgb.permute(0, 2, 3, 1)[:, : size[0], : size[1]]
    return Backdrop(rgb, enlarged(thumb.depth), enlarged(thumb.is_ground))


def _smoothed(layers: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """A 3x3 binomial filter against jagged edges."""
    for axis in (2, 3):
        size = layers.shape[axis]
        first, last = layers.narrow(axis, 0, 1), layers.narrow(axis, size - 1, 1)
        wide = torch.cat([first, layers, last], axis)
        pairs = wide.narrow(axis, 0, size + 1) + wide.narrow(axis, 1, size + 1)
        layers = (pairs.narrow(axis, 0, size) + pairs.narrow(axis, 1, size)) / 4
    return layers


def _shrunk(K: Float[Tensor, "B 3 3"], coarse: int) -> Float[Tensor, "B 3 3"]:
    """The intrinsics of pixels that are `coarse` times as large."""
    small = K / coarse
    small[:, :2, 2] = (K[:, :2, 2] + 0.5) / coarse - 0.5
    small[:, 2, 2] = 1
    return small


def _render(scenes: Sequence[Scene], view: View, lights: Lights, size: tuple[int, int]) -> Backdrop:
    device = view.K.device
    ray = rays(view.K, size)
    axes = _scene_axes(scenes, view.up)
    way = torch.einsum("bij,bhwj->bhwi", axes, ray)  # right, up, away in the scene's frame
    t, material, face, point = _first_hit(scenes, view, way)
    hit = material >= 0
    table = stack_materials(
        [
            [scene.ground, scene.walls, scene.skyline] + [box.material for box in scene.boxes]
            for scene in scenes
        ],
        device,
    )
    num_rows = FIRST_BOX + scenery.MAX_BOXES
    index = hit.flatten().nonzero()[:, 0]
    picture = index // (size[0] * size[1])
    seen = Surfaces(
        row=material.flatten()[index] + picture * num_rows,
        point=point.flatten(0, 2)[index],
        face=face.flatten()[index],
        blur=t.flatten()[index] / view.K[:, 0, 0][picture],
    )
    color = textured(seen, table)
    light = _light_on_faces(lights, axes)  # (B, 3 axes and both sides, 3)
    toward = (way.flatten(0, 2)[index].gather(1, seen.face[:, None])[:, 0] > 0).long()
    glow = table.texture[seen.row] == scenery.TEXTURES.index("glow")
    shade = light[picture, seen.face * 2 + toward]
    shade = torch.where(glow[:, None], torch.full_like(shade, 2.2), shade)
    color = color * shade * _corners(scenes, view, seen, picture)[:, None]
    rgb = torch.empty_like(way).flatten(0, 2)
    rgb[index] = color
    above = (~hit).flatten().nonzero()[:, 0]
    rgb[above] = _sky(scenes, way.flatten(0, 2)[above], above // (size[0] * size[1]))
    rgb = rgb.unflatten(0, t.shape)
    abstract = _flags(scenes, "abstract", device)
    if abstract.any():
        rgb[abstract] = _abstract([s for s in scenes if s.kind == _ABSTRACT], size, device)
    placed = hit & ~abstract[:, None, None]
    depth = torch.where(placed, t, torch.zeros_like(t))
    return Backdrop(rgb, depth, (placed & (material == GROUND)).to(rgb))


def _numbers(values: list, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


def _flags(scenes: Sequence[Scene], kind: str, device: torch.device) -> Tensor:
    wanted = KINDS.index(kind)
    return torch.tensor([scene.kind == wanted for scene in scenes], device=device)


def _scene_axes(scenes: Sequence[Scene], up: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Rotations from the camera's frame to the scene's: right, up, away."""
    right, forward = level_axes(up)
    yaw = _numbers([scene.yaw for scene in scenes], up.device)[:, None]
    turned = yaw.cos() * right + yaw.sin() * forward
    away = yaw.cos() * forward - yaw.sin() * right
    return torch.stack([turned, up, away], 1)


def _first_hit(
    scenes: Sequence[Scene], view: View, way: Float[Tensor, "B H W 3"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nearest surface of every ray: its ray length, material row, axis of its normal, point."""
    device = way.device
    safe = torch.where(way.abs() < 1e-7, torch.full_like(way, 1e-7), way)
    inverse = 1 / safe
    low, high, is_room = _rooms(scenes, view)
    floor = -view.height[:, None, None]
    # --- inside the room, or on open ground up to the skyline ------------------------------------
    bounds = torch.where(way > 0, high[:, None, None], low[:, None, None]) * inverse
    t, face = bounds.min(-1)
    inside = torch.where((face == 1) & (way[..., 1] < 0), GROUND, WALLS)
    ground_t = torch.where(way[..., 1] < 0, floor * inverse[..., 1], torch.inf)
    flat = torch.hypot(way[..., 0], way[..., 2]).clamp(min=1e-6)
    azimuth = torch.atan2(way[..., 0], way[..., 2])
    slope = way[..., 1] / flat
    seeds = torch.tensor([scene.seed for scene in scenes], device=device)[:, None, None]
    bumps = fractal_noise((azimuth * 9)[..., None], seed=seeds, octaves=3)
    top = _numbers([scene.skyline_height for scene in scenes], device)[:, None, None]
    trees = (slope < top * (1 + 0.7 * bumps)) & (top > 0)
    tree_t = torch.where(trees, _TREES / flat, torch.inf)
    open_t = torch.minimum(ground_t, tree_t)
    outside = torch.where(ground_t <= tree_t, GROUND, SKYLINE)
    outside = torch.where(open_t.isinf(), _SKY, outside)
    open_face = torch.where(ground_t <= tree_t, 1, 2)
    room = is_room[:, None, None]
    t, material = torch.where(room, t, open_t), torch.where(room, inside, outside)
    face = torch.where(room, face, open_face)
    # --- boxes -----------------------------------------------------------------------------------
    rows = [scenery.placed(s, d) for s, d in zip(scenes, view.distance.tolist(), strict=True)]
    corners = _numbers(rows, device).unflatten(-1, (2, 3))
    corners[..., 1] -= view.height[:, None, None]
    for k in range(scenery.MAX_BOXES):
        if all(scene.boxes[k].high[1] < -1e3 for scene in scenes):
            continue
        one = corners[:, k, 0][:, None, None] * inverse
        two = corners[:, k, 1][:, None, None] * inverse
        enter, axis = torch.minimum(one, two).max(-1)
        leave = torch.maximum(one, two).amin(-1)
        nearer = (enter < leave) & (enter > 0) & (enter < t)
        t = torch.where(nearer, enter, t)
        material = torch.where(nearer, FIRST_BOX + k, material)
        face = torch.where(nearer, axis, face)
    t = torch.where(material >= 0, t, torch.zeros_like(t))
    point = way * t[..., None]
    point[..., 1] += view.height[:, None, None]
    return t, material, face, point


def _rooms(scenes: Sequence[Scene], view: View) -> tuple[Tensor, Tensor, Tensor]:
    """Corners of each room relative to the camera, and which scenes have one."""
    device = view.K.device
    low, high = [], []
    pairs = zip(scenes, view.distance.tolist(), view.height.tolist(), strict=True)
    for scene, distance, height in pairs:
        left, right, near, _, tall = scene.room
        sideways = abs(scene.yaw) * distance + 0.8  # the subject stands inside
        low.append((min(left * distance, -sideways), -height, near))
        top = max(tall - height, 0.4)
        high.append((max(right * distance, sideways), top, scenery.room_far(scene, distance)))
    return _numbers(low, device), _numbers(high, device), _flags(scenes, "room", device)


def _light_on_faces(lights: Lights, axes: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 6 3"]:
    """Light on surfaces square to the scene's axes; faces seen against or along each axis."""
    normals = torch.cat([axes, -axes], 2).reshape(len(axes), 3, 2, 3).flatten(1, 2)
    upward = 0.5 + 0.5 * torch.einsum("bfi,bi->bf", normals, lights.up)[..., None]
    around = torch.lerp(lights.ground[:, None], lights.sky[:, None], upward)
    cosine = torch.einsum("bfi,bi->bf", normals, lights.key_direction).clamp(min=0)[..., None]
    return around + lights.fill[:, None] * 0.4 + lights.key[:, None] * (0.1 + 0.75 * cosine)


def _corners(
    scenes: Sequence[Scene], view: View, seen: Surfaces, picture: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Darker where walls and floor meet."""
    low, high, is_room = _rooms(scenes, view)
    lift = torch.zeros_like(low)
    lift[:, 1] = view.height
    low, high = (low + lift)[picture], (high + lift)[picture]
    a, b, c = torch.minimum(seen.point - low, high - seen.point).clamp(min=0).unbind(-1)
    # The smallest gap is that to the surface itself: the one in the middle counts.
    near = torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))
    inside = is_room[picture] & (seen.row % (FIRST_BOX + scenery.MAX_BOXES) < FIRST_BOX)
    return 1 - inside * 0.45 * torch.exp(-near / 0.35)


def _sky(
    scenes: Sequence[Scene], way: Float[Tensor, "N 3"], picture: Int[Tensor, " N"]
) -> Float[Tensor, "N 3"]:
    """A gradient from horizon to zenith, with clouds on a plane overhead."""
    device = way.device
    flat = torch.hypot(way[:, 0], way[:, 2])
    slope = torch.atan2(way[:, 1], flat).clamp(min=0)
    seeds = torch.tensor([scene.seed for scene in scenes], device=device)[picture]
    overhead = way[:, ::2] / (way[:, 1:2].clamp(min=0) + 0.15)
    puff = fractal_noise(overhead * 1.2, seed=seeds + 1, octaves=3)
    cover = _numbers([scene.clouds for scene in scenes], device)[picture]
    cloud = ((puff + 1.6 * cover - 0.9) * 2).clamp(0, 1)[:, None]
    zenith = _numbers([scene.sky for scene in scenes], device)[picture]
    horizon = _numbers([scene.horizon for scene in scenes], device)[picture]
    clear = torch.lerp(horizon, zenith, (slope * 1.6).clamp(0, 1).sqrt()[:, None])
    return torch.lerp(clear, horizon * 1.05, cloud)


def _abstract(
    scenes: Sequence[Scene], size: tuple[int, int], device: torch.device
) -> Float[Tensor, "B H W 3"]:
    """Coloured clouds over a gradient: no place at all."""
    y = torch.linspace(0, 1, size[0], device=device)[None, :, None]
    x = torch.linspace(0, size[1] / size[0], size[1], device=device)[None, None]
    seeds = torch.tensor([scene.seed for scene in scenes], device=device)[:, None, None]
    scale = 1.5 + (seeds % 7).float() ** 2 / 2
    y, x = (y * scale).expand(-1, -1, size[1]), (x * scale).expand(-1, size[0], -1)
    cells = torch.stack([x, y], -1)
    mixes = [
        (0.5 + 0.9 * fractal_noise(cells + 31 * k, seed=seeds + k, octaves=4)).clamp(0, 1)[
            ..., None
        ]
        for k in range(2)
    ]
    one, two, three = (
        _numbers([getattr(s, name).color for s in scenes], device)[:, None, None]
        for name in ("ground", "walls", "skyline")
    )
    return torch.lerp(torch.lerp(one, two, mixes[0]), three, mixes[1])


def cast_on_ground(
    backdrop: Backdrop,
    view: View,
    shadow: ShadowMap,
    picture: Int[Tensor, " P"],
    strength: Float[Tensor, " P"],
) -> Backdrop:
    """Let people throw their shadows on the ground; `picture` tells where each person is."""
    size = (backdrop.rgb.shape[1], backdrop.rgb.shape[2])
    ray = rays(view.K, size)
    darkness = torch.ones_like(backdrop.depth)
    place = (ray * backdrop.depth[..., None]).flatten(0, 2)
    pixels = backdrop.is_ground.flatten() > 0
    for k in range(int(torch.bincount(picture).max())):
        person = _nth_person(picture, k, len(view.K))
        owner = person.repeat_interleave(size[0] * size[1])
        index = (pixels & (owner >= 0)).nonzero()[:, 0]
        reach = shadow.covers(place[index], owner[index])
        index = index[reach]
        lit = shadow.lit(place[index], owner[index])
        flat = darkness.view(-1)
        flat[index] = flat[index] * (1 - strength[owner[index]] * (1 - lit))
    return Backdrop(backdrop.rgb * darkness[..., None], backdrop.depth, backdrop.is_ground)


def _nth_person(picture: Int[Tensor, " P"], nth: int, num_pictures: int) -> Int[Tensor, " B"]:
    """Index of the nth person of every picture, -1 where there are fewer."""
    before = (picture[:, None] == picture[None]).tril(-1).sum(1)
    found = torch.full((num_pictures,), -1, device=picture.device)
    mine = (before == nth).nonzero()[:, 0]
    found[picture[mine]] = mine
    return found


def out_of_focus(
    backdrop: Backdrop, distance: Float[Tensor, " B"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B H W 3"]:
    """Blur what lies far from the plane in focus; `sigma` (pixels) is the blur at infinity."""
    blurred = blur_picture(backdrop.rgb, sigma)
    depth = torch.where(backdrop.depth > 0, backdrop.depth, torch.inf)
    away = (1 - distance[:, None, None] / depth).abs().clamp(max=1)
    share = (away * 2.5).clamp(max=1)[..., None]
    return torch.lerp(backdrop.rgb, blurred, share)
