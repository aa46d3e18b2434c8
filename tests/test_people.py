"""Annotated people become samples whose pixels, cameras and bodies agree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people_files import (
    SIZE,
    K,
    bedlam_columns,
    body,
    spin_columns,
    truth,
    write,
    write_pictures,
)
from PIL import Image
from plain_people import plain_people

from meshreg.body.skeleton import SKELETONS
from meshreg.data.bedlam import read_bedlam
from meshreg.data.centred import centred
from meshreg.data.people import PeopleInPictures, Pictures
from meshreg.data.random_views import RandomViews
from meshreg.data.sample import KEYPOINTS, stack, with_vertices
from meshreg.data.spin_npz import read_spin
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import project
from meshreg.geometry.turned_crop import crop_towards

WILD = RandomViews(flip=0.5, roll_share=1.0, shift_spread=0.1)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(write_pictures(tmp_path / "pictures"), size=64)


def spin(tmp_path: Path, pictures: Pictures, **options: object) -> PeopleInPictures:
    annotations = read_spin(write(tmp_path / "spin.npz", spin_columns()))
    return PeopleInPictures(annotations, pictures, body=body(), **options)


def bedlam(tmp_path: Path, pictures: Pictures, **options: object) -> PeopleInPictures:
    annotations = read_bedlam(write(tmp_path / "bedlam.npz", bedlam_columns()))
    annotations = replace(annotations, topology_hash=body().topology_hash)
    return PeopleInPictures(annotations, pictures, body=body(), **options)


def test_of_drawn_people_everything_is_known_and_nothing_annotated() -> None:
    batch = plain_people(size=32).render(range(2))
    assert batch.pose_weight.shape == (2, 24) and (batch.pose_weight == 1).all()
    assert (batch.betas_weight == 1).all() and (batch.joints_weight == 1).all()
    assert batch.keypoints_px.shape == (2, 49, 2) and not batch.keypoints_weight.any()
    assert batch[1].transl_weight.shape == () and batch[1].keypoints_cam.shape == (49, 3)
    again = stack([batch[0], batch[1]])
    assert torch.equal(again.keypoints_cam_weight, batch.keypoints_cam_weight)


def test_samples_of_a_spin_file(tmp_path: Path, pictures: Pictures) -> None:
    people, true = spin(tmp_path, pictures), truth()
    batch = stack([people[index] for index in range(len(people))])
    assert batch.image.shape == (3, 3, 64, 64) and people.sequences == ("clip",) * 3
    torch.testing.assert_close(batch.betas_weight, torch.tensor([1.0, 1.0, 0.0]))
    assert not batch.joints_cam[2].any() and not batch.joints_weight[2].any()
    expected = true["joints"][:2] - true["transl"][:2, None]
    torch.testing.assert_close(batch.joints_cam[:2], expected, atol=1e-5, rtol=0)
    assert not batch.transl_weight.any() and not batch.transl.any()
    posed = with_vertices(batch, body()).vertices_cam[:2]
    torch.testing.assert_close(posed, (true["vertices"] - true["transl"][:, None])[:2])
    # OpenPose's joints are the body's own, so both kinds of pixels agree where both are known.
    seen = batch.joints_visible
    in_full = batch.box[:, None, :2] + (batch.joints_px - 31.5) * batch.box[:, None, 2:] / 64
    assert float((in_full - true["joints_px"])[seen].abs().max()) < 1e-3 and seen.sum() > 45
    knee = KEYPOINTS.index("left_knee_lsp")[0]
    points = true["joints"][:, 4] - true["joints"][:, 0]
    torch.testing.assert_close(batch.keypoints_cam[:, knee], points, atol=1e-6, rtol=0)
    assert (batch.keypoints_cam_weight[:, knee] == 1).all()
    assert not batch.keypoints_cam_weight[:, :25].any()


@pytest.mark.parametrize("epoch", range(6))
def test_samples_of_bedlam_agree_with_their_camera(
    tmp_path: Path, pictures: Pictures, epoch: int
) -> None:
    people = bedlam(tmp_path, pictures, augmentation=WILD, seed=1)
    people.epoch = epoch
    plain, true = bedlam(tmp_path, pictures), truth()
    for index in range(3):
        sample = people[index]
        seen = project(sample.joints_cam[None], sample.K[None])[0]
        assert float((seen - sample.joints_px).abs().max()) < 1e-3
        # The camera rolls about its own axis, so nothing comes nearer or goes farther away.
        depth = plain[index].joints_cam[0, 2]
        assert float(sample.joints_cam[0, 2] - depth) == pytest.approx(0, abs=1e-5)
        assert (sample.pose_rotmat[0] - plain[index].pose_rotmat[0]).norm() > 1e-3
        batch = stack([sample])
        again = body()(batch.betas, batch.pose_rotmat, batch.transl).joints[0]
        assert float((again - sample.joints_cam).abs().max()) < 2e-3
    unchanged = plain[0]
    torch.testing.assert_close(unchanged.joints_cam, true["joints"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(unchanged.K_full, K, atol=1e-4, rtol=0)
    given = plain.annotations.joints_px[0, :, :2]
    np.testing.assert_allclose(given, true["joints_px"][0].numpy(), atol=1e-4)


def test_mirrored_annotations_swap_sides(tmp_path: Path, pictures: Pictures) -> None:
    plain = spin(tmp_path, pictures)[0]
    flipped = spin(
        tmp_path, pictures, augmentation=RandomViews(flip=1.0, roll_share=0.0, scale_spread=0.0)
    )[0]
    mirror = torch.tensor([63.0, 0.0]) + torch.tensor([-1.0, 1.0]) * plain.keypoints_px
    known = plain.keypoints_weight > 0
    order = list(KEYPOINTS.flip)
    assert torch.equal(flipped.keypoints_weight, plain.keypoints_weight[order])
    torch.testing.assert_close(
        flipped.keypoints_px[known[order]], mirror[order][known[order]], atol=1e-3, rtol=0
    )
    joints = torch.tensor([-1.0, 1.0, 1.0]) * (plain.joints_cam - plain.joints_cam[0])
    swapped = joints[list(SKELETONS["smplx45"].flip)]
    torch.testing.assert_close(
        flipped.joints_cam - flipped.joints_cam[0], swapped, atol=1e-5, rtol=0
    )


def test_weights_of_single_joints_are_mirrored_too(tmp_path: Path, pictures: Pictures) -> None:
    columns, names = spin_columns(), SKELETONS["smplx45"]
    left, right = names.index("left_knee", "right_knee")
    columns["openpose"][:, KEYPOINTS.index("left_knee")[0], 2] = 0
    columns["scale"] *= 3  # everybody is in the picture as a whole
    annotations = read_spin(write(tmp_path / "one.npz", columns))
    always = RandomViews(flip=1.0, roll_share=0.0, scale_spread=0.0)
    for augmentation, unseen, seen in ((None, left, right), (always, right, left)):
        sample = PeopleInPictures(annotations, pictures, body=body(), augmentation=augmentation)[0]
        assert sample.joints_visible[seen] and not sample.joints_visible[unseen]
        assert not sample.joints_px[unseen].any()


def test_chance_depends_on_seed_epoch_and_number_only(tmp_path: Path, pictures: Pictures) -> None:
    one, other = (spin(tmp_path, pictures, augmentation=WILD, seed=3) for _ in range(2))
    assert torch.equal(one[1].image, other[1].image)
    other.epoch = 1
    assert not torch.equal(one[1].image, other[1].image)


def test_label_maps_follow_the_pictures(tmp_path: Path, pictures: Pictures) -> None:
    masks = tmp_path / "masks" / "clip"
    masks.mkdir(parents=True)
    labels = np.zeros(SIZE, np.uint8)
    labels[:, :80], labels[:, 80:], labels[0, 0] = 14, 15, 5
    Image.fromarray(labels).save(masks / "0.png")
    with_masks = replace(pictures, masks=tmp_path / "masks")
    plain = spin(tmp_path, with_masks)[0]
    assert {14, 15} <= set(plain.labels.unique().tolist()) <= {14, 15, 255}
    always = RandomViews(flip=1.0, roll_share=0.0, scale_spread=0.0)
    flipped = spin(tmp_path, with_masks, augmentation=always)[0]
    both = (plain.labels.flip(1) != 255) & (flipped.labels != 255)
    assert both.sum() > 500
    # Mirrored twice over: columns the other way round, and left arms become right ones.
    assert torch.equal(29 - plain.labels.flip(1)[both], flipped.labels[both])
    assert (spin(tmp_path, with_masks)[1].labels == 255).all()  # no such file: unknown


def test_other_bodies_keep_the_pose_only(tmp_path: Path, pictures: Pictures) -> None:
    annotations = read_spin(write(tmp_path / "smpl.npz", spin_columns(), topology_hash=None))
    sample = PeopleInPictures(annotations, pictures, body=body())[0]
    assert sample.betas_weight == 0 and not sample.joints_weight.any() and not sample.betas.any()
    assert (sample.pose_weight == 1).all() and sample.keypoints_weight.any()
    blind = PeopleInPictures(annotations, pictures)[0]
    assert blind.betas_weight == 1 and not blind.joints_weight.any()


def test_gendered_truth_comes_as_vertices(tmp_path: Path, pictures: Pictures) -> None:
    bodies = {"male": body(), "female": body()}
    batch = stack([spin(tmp_path, pictures, gendered=bodies)[index] for index in range(3)])
    expected = truth()["vertices"] - truth()["transl"][:, None]
    torch.testing.assert_close(batch.vertices_cam[:2], expected[:2])
    assert not batch.vertices_cam[2].any()
    with pytest.raises(InputError, match="truth for male, for which there is no body"):
        spin(tmp_path, pictures, gendered={"female": body()})


def test_smplx_files_keep_what_smpl_shares(tmp_path: Path, pictures: Pictures) -> None:
    pose = np.random.default_rng(0).normal(0, 0.2, (3, 165))
    joints = np.full((3, 127, 2), 50.5)
    path = write(tmp_path / "x.npz", bedlam_columns(), pose_cam=pose, gtkps=joints)
    sample = PeopleInPictures(read_bedlam(path), pictures, body=body())[0]
    assert sample.pose_weight.tolist() == [1.0] * 22 + [0.0] * 2
    assert sample.betas_weight == 0 and sample.transl_weight == 0
    assert sample.joints_visible.tolist() == [True] * 22 + [False] * 23


def test_pictures_on_their_side_are_turned(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", size=(100, 160))
    camera = np.array([[180.0, 0, 50], [0, 180, 80], [0, 0, 1]])
    columns = bedlam_columns() | {
        "cam_int": np.tile(camera, (3, 1, 1)),
        "center": np.full((3, 2), (50.0, 80.0)),
        "scale": np.full(3, 0.8),
    }
    annotations = read_bedlam(write(tmp_path / "closeup.npz", columns))
    sample = PeopleInPictures(annotations, Pictures(folder, size=160))[0]
    stored = np.asarray(Image.open(folder / "clip" / "0.png"))
    assert sample.full_size.tolist() == [160, 100]
    np.testing.assert_array_equal(
        sample.image.numpy()[:, :, 30:130].transpose(1, 2, 0), np.rot90(stored, -1)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center": None}, "lacks center"),
        ({"imgname": None}, "lacks imgname"),
        ({"scale": np.ones(2)}, "scale has 2 rows but imgname has 3"),
        ({"pose": np.zeros((3, 69))}, "pose has rows of shape"),
        ({"openpose": np.zeros((3, 18, 3))}, "openpose has rows of shape"),
        ({"pose": np.full((3, 72), np.nan)}, "pose_rotvec of row 0 is not finite"),
        ({"center": np.full((3, 2), np.nan)}, "box of row 0 is not finite"),
        ({"scale": np.array([1.0, -1.0, 1.0])}, "box of row 1 has side -200"),
        ({"part": np.full((3, 24, 3), -1.0)}, "negative weights"),
        ({"gender": np.zeros(3)}, "gender holds no text"),
        ({"shape": np.array(["a", "b", "c"])}, "shape holds no numbers"),
        ({"imgname": np.array([], "U3")}, "describes nobody"),
    ],
)
def test_bad_spin_files_are_refused_in_a_sentence(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_spin(write(tmp_path / "bad.npz", spin_columns(), **change))
    assert "\n" not in str(caught.value)


def test_nan_without_weight_is_harmless(tmp_path: Path, pictures: Pictures) -> None:
    columns = spin_columns()
    columns["openpose"][0, 3] = (np.nan, np.nan, 0)
    columns["pose"][2], columns["shape"][2] = np.nan, np.nan  # has_smpl is 0 there
    annotations = read_spin(write(tmp_path / "nan.npz", columns))
    people = PeopleInPictures(annotations, pictures, body=body())
    for sample in (people[0], people[2]):
        assert all(value.isfinite().all() for value in vars(sample).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cam_int": None}, "lacks cam_int"),
        ({"pose_cam": np.zeros((3, 30))}, "pose_rotvec of shape"),
        ({"gtkps": np.zeros((3, 45))}, "gtkps has shape"),
    ],
)
def test_bad_bedlam_files_are_refused_in_a_sentence(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_bedlam(write(tmp_path / "bad.npz", bedlam_columns(), **change))


def test_missing_and_damaged_files(tmp_path: Path, pictures: Pictures) -> None:
    with pytest.raises(MissingFileError, match="no annotations at"):
        read_spin(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="damaged or no .npz"):
        read_spin(tmp_path / "text.npz")
    np.savez(tmp_path / "objects.npz", imgname=np.array([{}], object))
    with pytest.raises(InputError, match="lacks imgname .it has nothing that can be read"):
        read_spin(tmp_path / "objects.npz")
    with pytest.raises(MissingFileError, match="no folder of pictures"):
        spin(tmp_path, Pictures(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match="has no picture of"):
        spin(tmp_path, Pictures(tmp_path / "empty"))
    with pytest.raises(MissingFileError, match="no folder of label maps"):
        spin(tmp_path, replace(pictures, masks=tmp_path / "nowhere"))
    with pytest.raises(MissingFileError, match="has no label map of any picture"):
        spin(tmp_path, replace(pictures, masks=tmp_path / "empty"))
    (pictures.folder / "clip" / "1.png").unlink()
    with pytest.raises(MissingFileError, match="no picture at"):
        spin(tmp_path, pictures)[1]
    Image.new("L", (10, 10), 14).save(tmp_path / "empty" / "small.png")
    (tmp_path / "empty" / "clip").mkdir()
    (tmp_path / "empty" / "small.png").rename(tmp_path / "empty" / "clip" / "0.png")
    with pytest.raises(InputError, match="10x10 pixels but the picture is 160x120"):
        spin(tmp_path, replace(pictures, masks=tmp_path / "empty"))[0]


# --- turned cameras -------------------------------------------------------------------------------
def test_known_cameras_turn_before_people_are_cut_out(tmp_path: Path, pictures: Pictures) -> None:
    """The picture is drawn once, from the full one, so that nothing in it is black."""
    people = bedlam(tmp_path, pictures)
    boxes = np.array([[136.0, 22, 40], [24, 96, 40], [80, 55, 30]])
    people.annotations = replace(people.annotations, box=boxes)
    cut = stack([people[index] for index in range(3)])
    people.centred = True
    found = stack([people[index] for index in range(3)])
    middle = torch.full((3, 2), 31.5)
    torch.testing.assert_close(found.K[:, :2, 2], middle, atol=1e-3, rtol=0)
    posed = body()(found.betas, found.pose_rotmat, found.transl)
    torch.testing.assert_close(posed.joints, found.joints_cam, atol=1e-5, rtol=0)
    corners = torch.from_numpy(np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2] * 2, 1))
    corners[:, 2:] += torch.from_numpy(boxes[:, 2:])
    crop = crop_towards(corners, torch.from_numpy(people.annotations.K), 64, fit="area")
    paths = [pictures.folder / name for name in people.annotations.images]
    full = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in paths])
    once = crop.pictures(full.permute(0, 3, 1, 2))
    assert (once.int() - found.image.int()).abs().float().mean() < 1.5
    turned = crop.points(cut.joints_cam.double()).float()
    torch.testing.assert_close(turned, found.joints_cam, atol=1e-4, rtol=0)
    # Turned from the cut picture, its corners would be missing.
    twice = centred(cut, "minimal")
    black = [(batch.image == 0).all(1).float().mean((1, 2)) for batch in (found, twice)]
    assert (black[0] < 0.005).all() and (black[1][:2] > 0.01).all()
    torch.testing.assert_close(twice.pose_rotmat, found.pose_rotmat, atol=1e-4, rtol=0)
    torch.testing.assert_close(twice.K, found.K, rtol=1e-4, atol=1e-3)
    # A training that turns cameras leaves as it is what is turned already.
    again = centred(found, "minimal")
    torch.testing.assert_close(again.pose_rotmat, found.pose_rotmat, atol=1e-5, rtol=0)
    assert (again.image.int() - found.image.int()).abs().max() <= 1


def test_cameras_that_cannot_turn_do_not(tmp_path: Path, pictures: Pictures) -> None:
    guessed = spin(tmp_path, pictures), spin(tmp_path, pictures, centred=True)
    assert torch.equal(guessed[0][1].image, guessed[1][1].image)
    wide = bedlam(tmp_path, pictures, centred=True)
    narrow = wide.annotations.K * np.array([[0.02], [0.02], [1]])  # 178 degrees
    wide.annotations = replace(wide.annotations, K=narrow)
    torch.testing.assert_close(wide[0].pose_rotmat[0], torch.diag(torch.tensor([1.0, -1, -1])))
