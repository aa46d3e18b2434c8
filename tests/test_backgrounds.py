"""Backgrounds: seen by the right camera, the same in every batch; folders of pictures."""

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshreg.data.synthetic.backgrounds import (
    View,
    cast_on_ground,
    out_of_focus,
    render_scenes,
)
from meshreg.data.synthetic.lights import SETTINGS, Lights, place_lights, sample_light
from meshreg.data.synthetic.picture_folder import PictureFolder
from meshreg.data.synthetic.scenery import KINDS, MAX_BOXES, NO_BOX, Scene, sample_scene
from meshreg.data.synthetic.shadows import ShadowMap
from meshreg.data.synthetic.streams import stream
from meshreg.errors import InputError, MissingFileError
from meshreg.render.rasterizer import rasterizer

SIZE = (48, 64)
FOCAL = 90.0


def scene_of(index: int, kind: str) -> Scene:
    for k in range(200):
        scene = sample_scene(stream(index, k, "scene"), outdoor=kind != "room")
        if scene.kind == KINDS.index(kind):
            return scene
    raise AssertionError(f"no {kind} drawn")


def bare(scene: Scene) -> Scene:
    return dataclasses.replace(scene, boxes=(NO_BOX,) * MAX_BOXES, skyline_height=0.0)


def view_of(pitches: list[float], *, height: float = 1.6, roll: float = 0.0) -> View:
    num = len(pitches)
    pitch = torch.tensor(pitches)
    up = torch.stack([torch.zeros(num), -pitch.cos(), -pitch.sin()], 1)
    c, s = math.cos(roll), math.sin(roll)
    up = up @ torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    K = torch.tensor([[FOCAL, 0, 31.5], [0, FOCAL, 20.0], [0, 0, 1]]).expand(num, 3, 3)
    return View(K, up, torch.full((num,), height), torch.full((num,), 4.0))


def lights_of(view: View) -> Lights:
    num = len(view.up)
    lights = [sample_light(stream(0, i, "light"), SETTINGS[i % 5]) for i in range(num)]
    return place_lights(lights, view.up)


def test_the_horizon_is_where_the_camera_says() -> None:
    pitches = [-0.1, 0.0, 0.08, 0.2]  # positive looks down
    view = view_of(pitches)
    scenes = [bare(scene_of(k, "street")) for k in range(4)]
    backdrop = render_scenes(scenes, view, lights_of(view), SIZE, coarse=1)
    for k, pitch in enumerate(pitches):
        horizon = 20.0 - FOCAL * math.tan(pitch)
        rows = torch.arange(SIZE[0])
        wanted = (rows > horizon).float()
        sure = (rows - horizon).abs() > 0.6
        assert (backdrop.is_ground[k, :, 30][sure] == wanted[sure]).all()


def test_a_rolled_camera_rolls_the_horizon() -> None:
    view = view_of([0.0], roll=0.3)
    backdrop = render_scenes([bare(scene_of(0, "park"))], view, lights_of(view), SIZE, coarse=1)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    over = torch.stack([(x - 31.5) / FOCAL, (y - 20) / FOCAL, torch.ones_like(x)], -1) @ view.up[0]
    sure = over.abs() > 1e-3
    assert torch.equal(backdrop.is_ground[0][sure] > 0, (over < 0)[sure])


@pytest.mark.parametrize("kind", ["room", "street"])
def test_the_ground_lies_as_deep_as_the_camera_is_high(kind: str) -> None:
    view = view_of([0.3], height=1.4)
    backdrop = render_scenes([bare(scene_of(1, kind))], view, lights_of(view), SIZE, coarse=1)
    ground = backdrop.is_ground[0] > 0
    assert ground.sum() > 300
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    ray = torch.stack([(x - 31.5) / FOCAL, (y - 20) / FOCAL, torch.ones_like(x)], -1)
    place = ray * backdrop.depth[0][..., None]
    height = (place @ view.up[0])[ground]
    torch.testing.assert_close(height, torch.full_like(height, -1.4), atol=1e-3, rtol=0)


def test_walls_and_things_stand_behind_the_subject() -> None:
    scenes = [scene_of(k, "room") for k in range(6)]
    view = view_of([0.0] * 6)
    backdrop = render_scenes(scenes, view, lights_of(view), SIZE)
    middle = backdrop.depth[:, 15:25, 28:36]
    assert (middle > 4.0).all()  # all of these are 4 m away or further in the middle


def test_a_place_looks_the_same_alone_and_in_a_batch() -> None:
    scenes = [scene_of(k, kind) for k, kind in enumerate(KINDS)]
    view = view_of([0.1, 0.0, 0.2, 0.1])
    lights = lights_of(view)
    together = render_scenes(scenes, view, lights, SIZE)
    assert together.rgb.isfinite().all() and together.rgb.min() >= 0
    assert together.rgb.shape == (4, *SIZE, 3)
    for k in range(4):
        one = torch.tensor([k])
        mine = View(*(getattr(view, f.name)[one] for f in dataclasses.fields(View)))
        light = Lights(*(getattr(lights, f.name)[one] for f in dataclasses.fields(Lights)))
        alone = render_scenes([scenes[k]], mine, light, SIZE)
        different = (alone.rgb[0] - together.rgb[k]).abs() > 1e-3
        assert different.float().mean() < 0.003  # rounding at the edges of things
    assert together.depth[KINDS.index("abstract")].abs().max() == 0


def test_coarse_pictures_show_the_same_place() -> None:
    view = view_of([0.1])
    scenes, lights = [bare(scene_of(3, "room"))], lights_of(view)
    fine = render_scenes(scenes, view, lights, SIZE, coarse=1)
    coarse = render_scenes(scenes, view, lights, (47, 63), coarse=2)
    assert coarse.rgb.shape == (1, 47, 63, 3)
    assert (coarse.is_ground - fine.is_ground[:, :47, :63]).abs().mean() < 0.03
    assert (coarse.rgb - fine.rgb[:, :47, :63]).abs().mean() < 0.03


def test_people_throw_shadows_on_the_ground_only() -> None:
    view = view_of([0.35, 0.35])
    scenes = [bare(scene_of(k, "street")) for k in range(2)]
    lights = lights_of(view)
    backdrop = render_scenes(scenes, view, lights, SIZE, coarse=1)
    corners = torch.tensor([(-0.4, 0.0), (0.4, 0.0), (0.4, -1.0), (-0.4, -1.0)])
    up, middle = view.up[0], torch.tensor([0.0, 0.0, 4.0])
    foot = middle - (middle @ up + 1.6) * up
    board = foot + corners[:, :1] * torch.tensor([1.0, 0, 0]) - corners[:, 1:] * up
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    noon = torch.nn.functional.normalize(up + torch.tensor([0.0, 0.0, -0.8]), dim=0)[None]
    shadow = ShadowMap(board[None], faces, noon, rasterizer())
    shaded = cast_on_ground(backdrop, view, shadow, torch.tensor([1]), torch.tensor([0.8]))
    assert torch.equal(shaded.rgb[0], backdrop.rgb[0])
    ratio = (shaded.rgb[1] / backdrop.rgb[1]).mean(-1)
    assert (ratio < 0.25).sum() > 20
    assert (ratio[backdrop.is_ground[1] == 0] == 1).all()


def test_focus_stays_on_the_subject() -> None:
    view = view_of([0.3])
    backdrop = render_scenes([scene_of(2, "street")], view, lights_of(view), SIZE, coarse=1)
    seen = out_of_focus(backdrop, torch.tensor([4.0]), torch.tensor([3.0]))
    sharp = (backdrop.depth[0] - 4).abs() < 0.05
    change = (seen - backdrop.rgb)[0].abs().mean(-1)
    assert sharp.sum() > 5
    assert change[sharp].mean() < 0.1 * change[backdrop.depth[0] > 12].mean() + 1e-4


def save_picture(path: Path, color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((40, 60, 3), np.uint8) + np.array(color, np.uint8)
    Image.fromarray(pixels).save(path)


def test_folder_gives_crops_and_names_broken_files_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_picture(tmp_path / "b.png", (255, 0, 0))
    save_picture(tmp_path / "deep" / "a.JPG", (0, 255, 0))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not a picture either")
    with caplog.at_level(logging.WARNING):
        folder = PictureFolder(tmp_path)
        crops = [folder.crop(stream(0, k, "picture"), (24, 32)) for k in range(12)]
    assert len(folder) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "skipping pictures that cannot be read: broken.png"
    ]
    assert all(crop.shape == (24, 32, 3) for crop in crops)
    reds = [bool(crop[..., 0].mean() > 0.9) for crop in crops]
    assert 0 < sum(reds) < 12
    again = PictureFolder(tmp_path).crop(stream(0, 7, "picture"), (24, 32))
    assert torch.equal(again, crops[7])


def test_a_picture_that_breaks_off_is_replaced_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_picture(tmp_path / "a.png", (10, 200, 30))
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    folder = PictureFolder(tmp_path)
    assert len(folder) == 2
    with caplog.at_level(logging.WARNING):
        crops = [folder.crop(stream(0, k, "picture"), (8, 8)) for k in range(8)]
    assert len(folder) == 1 and len(caplog.records) == 1 and "b.jpg" in caplog.text
    assert all(crop[..., 1].mean() > 0.5 for crop in crops)


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder"):
        PictureFolder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no pictures"):
        PictureFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of the 1"):
        PictureFolder(tmp_path)
