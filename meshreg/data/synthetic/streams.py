"""Random numbers that do not depend on batches, devices or the order of work.

Each topic of each sample has a stream of its own, so that a sample is the same whether it is made
alone or in a batch, and a new draw in one topic leaves the others as they were.
"""

import zlib

import numpy as np


def stream(seed: int, index: int, topic: str) -> np.random.Generator:
    """The random numbers of one topic ("outfit", "camera", ...) of sample number `index`."""
    entropy = (seed, index, zlib.crc32(topic.encode()))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
