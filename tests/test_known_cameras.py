"""Guessed cameras place people, but networks are neither told of them nor turned by them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_people import plain_body, plain_people
from torch import Tensor

from meshreg.data.centred import centred
from meshreg.data.sample import Batch
from meshreg.geometry.cameras import (
    Camera,
    camera_from_focal,
    camera_from_fov,
    guess_camera,
)
from meshreg.geometry.turned_crop import crop_towards
from meshreg.losses.terms import total
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.builders import build_hmr
from meshreg.models.hmr import HMR
from meshreg.models.perspose import PersPoseArchitecture, build_perspose
from meshreg.models.regressors import Regressor, bodies_in_crops
from meshreg.predictor.regress import Predictor
from meshreg.train.hmr_config import LossConfig, TermConfig
from meshreg.train.hmr_terms import HmrTerms

SIDE, SIZE = 64, (300, 400)
FAR_LEFT = [10.0, 60.0, 110.0, 260.0]


def told(kind: str, centred: str) -> Regressor:
    """A small network with a strong encoding, in evaluation mode."""
    torch.manual_seed(0)
    body = plain_body()
    if kind == "perspose":
        architecture = PersPoseArchitecture(
            trunk="mobilenetv4_conv_small",
            image_size=SIDE,
            centred=centred,  # type: ignore[arg-type]
            stature="network",
        )
        perspose = build_perspose(architecture, body=body).eval()
        perspose.encoding.weight.data.mul_(100)
        return perspose
    small = replace(ARCHITECTURES["hmr_small"], width=32, image_size=SIDE, encoding=True)
    model = build_hmr(replace(small, centred=centred), body=body).eval()  # type: ignore[arg-type]
    for weight in model.encodings.parameters():
        weight.data.mul_(100)
    return model


def encodings_of(model: Regressor, camera: Camera, box: list[float]) -> tuple[Tensor, Tensor]:
    """What the encoding adds in a prediction (its convolution's output), and the betas said."""
    layer = model.encodings[-1].project if isinstance(model, HMR) else model.encoding
    added: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: added.append(output))
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    (person,) = Predictor(model).predict(picture, [box], camera)
    hook.remove()
    assert torch.isfinite(torch.from_numpy(person.vertices_cam)).all()
    assert person.K_known == camera.known and person.camera.known == camera.known
    return torch.cat(added), torch.from_numpy(person.betas)


# --- what counts as known -------------------------------------------------------------------------
def test_cameras_say_whether_they_are_known() -> None:
    assert camera_from_fov(60.0, SIZE).known and camera_from_focal(500.0, SIZE).known
    guess = guess_camera(SIZE)
    assert not guess.known
    moved = guess.crop(10.0, 20.0, (100, 100)).resize((50, 50)).flip().to("cpu")
    assert not moved.known, "what happens to a picture makes nobody know more"
    crop = crop_towards(torch.tensor(FAR_LEFT), guess.K, SIDE, turned=torch.tensor(guess.known))
    assert not crop.camera(guess).known


# --- prediction -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["hmr", "perspose"])
@pytest.mark.parametrize("how", ["none", "minimal", "pcl"])
def test_a_guess_encodes_nothing_and_the_same_camera_known_does(kind: str, how: str) -> None:
    model, guess = told(kind, how), guess_camera(SIZE)
    silent, _ = encodings_of(model, guess, FAR_LEFT)
    assert float(silent.abs().max()) == 0.0
    loud, _ = encodings_of(model, replace(guess, known=True), FAR_LEFT)
    assert float(loud.abs().mean()) > 1e-3


@pytest.mark.parametrize("how", ["none", "minimal"])
def test_what_is_said_of_shape_does_not_depend_on_the_guess(how: str) -> None:
    """Guesses that differ show the network the same pixels, so it says the same betas."""
    model = told("hmr", how)

    def betas(fov_deg: float, *, known: bool) -> Tensor:
        camera = replace(camera_from_fov(fov_deg, SIZE), known=known)
        return encodings_of(model, camera, FAR_LEFT)[1]

    torch.testing.assert_close(betas(40.0, known=False), betas(95.0, known=False))
    assert not torch.allclose(betas(40.0, known=True), betas(95.0, known=True))


def test_people_beyond_the_reach_of_turned_cameras_are_no_problem_for_a_guess() -> None:
    """Nobody turns by a guess, so a guess that would put them behind the view refuses nobody."""
    camera, corner = camera_from_fov(165.0, SIZE), [0.0, 140.0, 20.0, 160.0]
    added, _ = encodings_of(told("hmr", "minimal"), replace(camera, known=False), corner)
    assert float(added.abs().max()) == 0.0


def test_known_and_guessed_cameras_share_a_batch() -> None:
    model = told("hmr", "minimal")
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    known, guess = camera_from_fov(90.0, SIZE), guess_camera(SIZE)
    pictures, boxes = [picture] * 2, [[FAR_LEFT]] * 2
    together = Predictor(model).predict(pictures, boxes, [known, guess])
    alone = [Predictor(model).predict(picture, [FAR_LEFT], c)[0] for c in (known, guess)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.vertices_cam, other.vertices_cam, atol=1e-3)


# --- evaluation and training ----------------------------------------------------------------------
def people(*, known: bool) -> Batch:
    batch = plain_people(size=SIDE).render(range(2))
    batch = replace(batch, vertices_cam=batch.vertices_cam[:, :0])
    return replace(batch, K_weight=torch.full((2,), float(known)))


def test_crops_of_unknown_cameras_are_not_turned_as_in_training() -> None:
    batch = people(known=False)
    turned = centred(batch, "minimal")
    torch.testing.assert_close(turned.pose_rotmat, batch.pose_rotmat)
    torch.testing.assert_close(turned.image, batch.image)
    model, unknown = told("hmr", "minimal"), batch.K_weight > 0
    crops = {"K_full": batch.K_full, "box": batch.box}
    with torch.inference_mode():
        found = bodies_in_crops(model, batch.image, **crops, known_camera=unknown)
        assert isinstance(model, HMR)
        plain = model(batch.image, **crops, known_camera=unknown)
    torch.testing.assert_close(found.betas, plain.betas, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.pose_rotmat, plain.pose_rotmat, atol=1e-4, rtol=0)


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_learned_from_the_rays_of_unknown_cameras(known: bool) -> None:
    batch, model = people(known=known), told("hmr", "none")
    assert isinstance(model, HMR)
    off = dict.fromkeys(LossConfig().terms(), TermConfig(weight=0.0))
    config = LossConfig(**off | {"pose": TermConfig(weight=1.0)})  # type: ignore[arg-type]
    loss, _ = total(HmrTerms(config, model.body)(model, batch, 0))
    loss.backward()
    gradients = [encode.project.weight.grad for encode in model.encodings]
    assert all(g is not None for g in gradients)
    assert (max(float(g.abs().max()) for g in gradients) > 0) == known  # type: ignore[union-attr]
