"""Error measures of the field: of joints, meshes, motion and masks, and how sure they are.

Lengths come out in the unit that went in. Any leading batch dimensions are kept; the mean over a
data set is the caller's.
"""

from meshreg.metrics.intervals import Interval, bootstrap_interval
from meshreg.metrics.joints import (
    aligned,
    auc,
    centred,
    mpjpe,
    n_mpjpe,
    pa_mpjpe,
    pck,
    root_aligned_mpjpe,
)
from meshreg.metrics.masks import class_iou, mask_iou
from meshreg.metrics.meshes import pve, v2v
from meshreg.metrics.motion import acceleration_error, mpjve

__all__ = [
    "Interval",
    "acceleration_error",
    "aligned",
    "auc",
    "bootstrap_interval",
    "centred",
    "class_iou",
    "mask_iou",
    "mpjpe",
    "mpjve",
    "n_mpjpe",
    "pa_mpjpe",
    "pck",
    "pve",
    "root_aligned_mpjpe",
    "v2v",
]
