"""Random numbers that depend on nothing but the numbers they are named by."""

import hashlib

import torch


def seed_of(*numbers: int) -> int:
    """A seed for these numbers together: unlike those of all others, and the same everywhere."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "little") % 2**63


def chance(*numbers: int) -> torch.Generator:
    """A generator on the CPU for these numbers."""
    return torch.Generator().manual_seed(seed_of(*numbers))
