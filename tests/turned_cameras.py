"""Random cameras and what they look at, for the tests of turned ones."""

import torch
from torch import Tensor

SIZE = (480, 640)  # height, width


def some_cameras(*batch: int) -> Tensor:
    """From wide to narrow, principal points anywhere, pixels that are no squares, some skew."""
    K = torch.zeros(*batch, 3, 3, dtype=torch.float64)
    K[..., 0, 0] = 250 + 1500 * torch.rand(batch)
    K[..., 1, 1] = K[..., 0, 0] * (0.8 + 0.4 * torch.rand(batch))
    K[..., 0, 1] = 20 * torch.randn(batch)
    K[..., 0, 2] = SIZE[1] * torch.rand(batch)
    K[..., 1, 2] = SIZE[0] * torch.rand(batch)
    K[..., 2, 2] = 1
    return K


def some_pixels(*shape: int) -> Tensor:
    sides = torch.tensor([SIZE[1], SIZE[0]], dtype=torch.float64)
    return torch.rand(*shape, 2, dtype=torch.float64) * sides


def some_boxes(*batch: int) -> Tensor:
    middle = some_pixels(*batch)
    half = 20 + 100 * torch.rand(*batch, 2, dtype=torch.float64)
    return torch.cat([middle - half, middle + half], -1)


def some_turns(*batch: int) -> Tensor:
    import roma

    return roma.rotvec_to_rotmat(torch.randn(*batch, 3, dtype=torch.float64))
