"""`meshreg adapt`: let a lifter learn about people of whom there are only 2D poses."""

from meshreg.cli.train import follow
from meshreg.train.poseda_config import PosedaConfig


def run_adapt(config: PosedaConfig) -> int:
    """Adapt; the exit code of an interruption if somebody asked the run to stop."""
    return follow("meshreg.train.poseda", config)
