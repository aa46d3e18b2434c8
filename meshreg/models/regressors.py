"""All kinds of networks behind one door: files by what they hold, pictures in, bodies out.

A network may have been trained on pictures by cameras that turned towards people. It is then shown
such pictures, and what it says is turned back into the camera of the full one.
"""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.geometry.turned_crop import TurnedCrop, can_turn, crop_towards
from meshreg.models.camera import crop_camera, crop_K, transl_to_weak
from meshreg.models.checkpoint import load_model
from meshreg.models.hmr import HMR
from meshreg.models.outputs import BodyPrediction
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose
from meshreg.models.perspose_files import is_perspose, load_perspose
from meshreg.models.recognise import is_torch_file, names_perspose
from meshreg.models.released import load_released
from meshreg.models.released_perspose import load_released_perspose

Regressor = HMR | PersPose


def load_regressor(path: Path, *, body: Body | None = None) -> Regressor:
    """The network of a file, of whatever kind, ready for prediction.

    That may also be weights that the authors of PersPose, or of SPIN, EFT or DSR released. `body`
    saves loading the body that it was trained with, or gives a licensed one.

    Raises:
        MissingFileError: if the file, or the body, is not there.
        InputError: if it is damaged, of another kind, or belongs to another body.
    """
    if is_torch_file(path) and path.suffix != ".safetensors":  # torch.load goes by that name
        return _released(path, body)
    return load_perspose(path, body=body) if is_perspose(path) else load_model(path, body=body)


def _released(path: Path, body: Body | None) -> Regressor:
    """Weights as others released them; PersPose's need more shape columns than usual."""
    if not names_perspose(path):
        return load_released(path, body=body)
    wanted = PERSPOSE_ARCHITECTURES["perspose_released"].num_betas
    if body is None:
        body = load_body("smpl_neutral", num_betas=wanted)
    elif body.num_betas < wanted:  # its file may hold more than were asked for
        body = Body(body.data, num_betas=wanted)
    return load_released_perspose(path, body=body)


def bodies_in_view(
    model: Regressor,
    image: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"],
    *,
    K_full: Float[Tensor, "B 3 3"],
    box: Float[Tensor, "B 3"],
    known_camera: Bool[Tensor, " B"] | None = None,
) -> BodyPrediction:
    """What a network says of pictures that were cut the way it wants, in their camera.

    Where `known_camera` is False, K_full is only a guess: the body is placed by it, but encodings
    are not told.
    """
    if isinstance(model, PersPose):
        return model.regress(image, K_full=K_full, box=box, known_camera=known_camera)
    return model(image, K_full=K_full, box=box, known_camera=known_camera)


def bodies_in_turned_view(
    model: Regressor,
    image: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"],
    crop: TurnedCrop,
    *,
    known_camera: Bool[Tensor, " B"] | None = None,
) -> BodyPrediction:
    """The same of the pictures of turned cameras, brought back into the camera of the full ones.

    The weak perspective of the result is that of the turned view.
    """
    _, whole = crop_camera(len(image), crop.size)
    K = crop.K.to(image.device, torch.float32)
    found = bodies_in_view(model, image, K_full=K, box=whole.to(K), known_camera=known_camera)
    betas = torch.nn.functional.pad(found.betas, (0, model.body.num_betas - found.betas.shape[1]))
    pelvis = model.body.rest_joints(betas)[:, 0]
    R_back = crop.R_full_crop.to(found.transl)
    back = replace(crop, R_crop_full=R_back.transpose(-1, -2))
    return replace(
        found,
        pose_rotmat=back.pose_back(found.pose_rotmat),
        transl=back.transl_back(found.transl, pelvis),
    )


def bodies_in_crops(
    model: Regressor,
    image: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"],
    *,
    K_full: Float[Tensor, "B 3 3"],
    box: Float[Tensor, "B 3"],
    known_camera: Bool[Tensor, " B"] | None = None,
) -> BodyPrediction:
    """The bodies in square crops `box` of full pictures, in the full pictures' camera.

    For networks that want it, cameras turn towards the crops' middles first, except where no
    camera could see the whole crop then, and where K_full is not a `known_camera`'s.
    """
    if model.centred == "none":
        return bodies_in_view(model, image, K_full=K_full, box=box, known_camera=known_camera)
    size = image.shape[-1]
    K = crop_K(K_full, box, size)
    edges = K.new_tensor([-0.5, -0.5, size - 0.5, size - 0.5]).expand(len(image), 4)
    turned = can_turn(edges, K) if known_camera is None else known_camera & can_turn(edges, K)
    crop = crop_towards(edges, K, size, how=model.centred, turned=turned, fit=model.fit)
    found = bodies_in_turned_view(model, crop.pictures(image), crop, known_camera=known_camera)
    return replace(found, cam=transl_to_weak(found.transl, box.to(found.cam), K_full.to(found.cam)))
