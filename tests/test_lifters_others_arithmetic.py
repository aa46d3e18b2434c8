"""The arithmetic of GLA-GCN, ConvFormer, MHFormer and MotionBERT, as published and as measured."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from meshreg.body.skeleton import skeleton
from meshreg.lifters.convformer import convformer
from meshreg.lifters.flops import linear_flops, matmul_flops
from meshreg.lifters.gla_gcn import gla_gcn
from meshreg.lifters.mhformer import mhformer, tpc_mhformer
from meshreg.lifters.motionbert import hot_motionbert, motionbert


@pytest.mark.parametrize(
    ("build", "linear", "everything"),  # in 1e9 additions and multiplications for one clip
    [
        (lambda: mhformer(frames=27), 1.03, 1.05),
        (lambda: mhformer(frames=243), 9.62, 10.72),
        (mhformer, 14.15, 16.44),
        (tpc_mhformer, 8.22, 9.17),
        (motionbert, 131.09, 142.09),
        (hot_motionbert, 63.21, 66.86),
        (lambda: gla_gcn(frames=27), 0.334, 0.351),
        (gla_gcn, 3.08, 3.25),
        (lambda: gla_gcn(frames=81, width=256), 7.25, 7.39),
        (lambda: gla_gcn(frames=27, joint_set=skeleton("humaneva15")), 0.295, 0.308),
        (lambda: convformer(frames=9), 0.097, 0.098),
        (lambda: convformer(frames=81), 1.685, 1.72),
        (convformer, 10.54, 10.81),
    ],
)
def test_the_arithmetic_is_what_was_published(
    build: Callable[[], nn.Module], linear: float, everything: float
) -> None:
    with torch.device("meta"):
        model = build()
    lifter = getattr(model, "lifter", model)  # what a pruned one works on
    clip = torch.zeros(1, lifter.frames, lifter.num_joints, lifter.in_channels)
    assert linear_flops(model, clip) / 1e9 == pytest.approx(linear, rel=0.006)
    assert matmul_flops(model, clip) / 1e9 == pytest.approx(everything, rel=0.006)
