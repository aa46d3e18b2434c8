"""Dressed people for tests: poses from the bank in front of a camera."""

from functools import cache

import roma
import torch
from torch import Tensor

from meshreg.body.smpl import load_body
from meshreg.data.synthetic.garments import Garment, Outfit
from meshreg.data.synthetic.people import DressedPeople
from meshreg.data.synthetic.wardrobe import Wardrobe
from meshreg.losses.priors import load_pose_prior

UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # from a body's axes to a camera's


@cache
def wardrobe() -> Wardrobe:
    return Wardrobe(load_body())


def bank_poses(indices: list[int]) -> Tensor:
    """Poses of the bank, upright before a camera."""
    _, bank = load_pose_prior()
    pose = torch.eye(3).repeat(len(indices), 24, 1, 1)
    pose[:, 1:22] = roma.rotvec_to_rotmat(bank.body_pose[indices].float())
    pose[:, 0] = UPRIGHT @ bank.root_rotmat[indices].float()
    return pose


def t_pose(count: int = 1) -> Tensor:
    pose = torch.eye(3).repeat(count, 24, 1, 1)
    pose[:, 0] = UPRIGHT
    return pose


def in_front(outfits: list[Outfit], pose: Tensor, betas: Tensor | None = None) -> DressedPeople:
    """People three metres away, their middle on the optical axis."""
    betas = torch.zeros(len(outfits), 10) if betas is None else betas
    people = wardrobe().dress(outfits, betas, pose, torch.zeros(len(outfits), 3))
    middle = 0.5 * (people.body_vertices.amax(1) + people.body_vertices.amin(1))
    return wardrobe().dress(outfits, betas, pose, torch.tensor([0.0, 0.0, 3.0]) - middle)


def camera(count: int, size: int = 224) -> Tensor:
    focal = 1.25 * size
    middle = (size - 1) / 2
    K = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    return K.repeat(count, 1, 1)


def plain(*garments: Garment) -> Outfit:
    return Outfit(garments)


SKIRTED = plain(
    Garment("skirt", leg=0.9, waist=0.12, flare=0.04, looseness=0.6),
    Garment("shirt", hem=0.0, tucked=True),
    Garment("shoes", leg=2.1),
    Garment("hair", thickness=0.012, style=1, length=0.2),
)
TROUSERED = plain(
    Garment("trousers", leg=2.0, looseness=0.5),
    Garment("tee", hem=-0.04, sleeve=0.6, looseness=0.5),
    Garment("shoes", leg=2.1, thickness=0.008),
    Garment("hair", thickness=0.015),
)
