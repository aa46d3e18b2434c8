"""Detectors that find two standing people in any picture, for tests of what is done with them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.models.detectors import ClothingParser, Found, KeypointDetector, PersonDetector

BOXES = [[20, 10, 70, 110], [80, 15, 140, 118]]
STANDING_X = [45, 47, 43, 50, 40, 55, 35, 58, 32, 60, 30, 51, 39, 52, 38, 52, 38]
STANDING_Y = [20, 18, 18, 19, 19, 30, 30, 45, 45, 58, 58, 62, 62, 84, 84, 105, 105]


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put them in the place of the real ones; gives the list of what they were asked."""
    asked: list[str] = []

    def people(self: object, image: Tensor, *, threshold: float) -> Found:
        asked.append(f"people above {threshold}")
        return Found(torch.tensor(BOXES, dtype=torch.float32), torch.tensor([0.9, 0.8]))

    def joints(self: object, image: Tensor, boxes: Tensor) -> Tensor:
        asked.append(f"joints of {len(boxes)}")
        one = torch.tensor([STANDING_X, STANDING_Y, [0.9] * 17], dtype=torch.float32).T
        return torch.stack([one, one + torch.tensor([60.0, 0.0, 0.0])])[: len(boxes)]

    def clothes(self: object, image: Tensor) -> Tensor:
        asked.append("clothes")
        labels = torch.zeros(image.shape[1:], dtype=torch.uint8)
        labels[10:-10, 15:-15] = 5
        return labels

    def load(cls: type, folder: Path | None = None, *, device: str) -> object:
        return object.__new__(cls)

    kinds = {PersonDetector: people, KeypointDetector: joints, ClothingParser: clothes}
    for kind, answer in kinds.items():
        monkeypatch.setattr(kind, "load", classmethod(load))
        monkeypatch.setattr(kind, "__call__", answer)
    return asked
