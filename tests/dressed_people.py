"""Bodies dressed by their skinning weights and seen by a camera, for tests of semantic losses."""

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from meshreg.body.smpl import Body, BodyOutput, load_body
from meshreg.clothing.counting import labels_from_joints
from meshreg.clothing.prior import SemanticPrior
from meshreg.geometry.cameras import intrinsics
from meshreg.render.rasterizer import rasterizer

DEPTH = 6.0  # metres
FACING = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # upright, towards the camera


@dataclass(frozen=True, eq=False)
class Scene:
    """Standing people with their arms half down."""

    body: Body
    prior: SemanticPrior
    K: Tensor  # (B, 3, 3)
    size: tuple[int, int]
    turn: Tensor  # (B, 3, 3) of the root, into the camera's frame
    pose: Tensor  # (B, 24, 3) rotation vectors

    def posed(self, pose: Tensor) -> BodyOutput:
        R = roma.rotvec_to_rotmat(pose)
        R = torch.cat([(self.turn @ R[:, 0])[:, None], R[:, 1:]], 1)
        transl = torch.tensor([0.0, -0.2, DEPTH]).expand(len(pose), 3)
        return self.body(torch.zeros(len(pose), 10), R, transl)

    def labels(
        self, vertices: Tensor, K: Tensor | None = None, size: tuple | None = None
    ) -> Tensor:
        """The likeliest label of every pixel that the bodies cover."""
        image = rasterizer().edge_semantic(
            vertices, self.body.faces, self.K if K is None else K, size or self.size,
            self.prior.probs[None], cull_backfaces=True,
        )  # fmt: skip
        return torch.where(image.alpha > 0.5, image.classes.argmax(-1), 0).to(torch.uint8)

    def joint_error_mm(self, pose: Tensor) -> float:
        """Mean distance of the 24 joints from those of the true pose."""
        with torch.no_grad():
            joints, truth = (self.posed(p).joints[:, :24] for p in (pose, self.pose))
        return float((joints - truth).norm(dim=-1).mean() * 1e3)


def make_scene(batch: int, side: int) -> Scene:
    body = load_body()
    prior = SemanticPrior(probs=labels_from_joints(body.weights), topology_hash=body.topology_hash)
    pose = torch.randn(batch, 24, 3) * 0.15
    pose[:, 16, 2] -= 0.8
    pose[:, 17, 2] += 0.8
    yaw = torch.zeros(batch, 3)
    yaw[:, 1] = torch.randn(batch) * 0.4
    focal_px, centre = side * DEPTH / 2.1, (side - 1) / 2
    return Scene(
        body=body,
        prior=prior,
        K=intrinsics(focal_px, focal_px, centre, centre).expand(batch, 3, 3).contiguous(),
        size=(side, side),
        turn=FACING @ roma.rotvec_to_rotmat(yaw),
        pose=pose,
    )
