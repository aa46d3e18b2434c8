"""A head that first finds the joints in the picture and then asks what body has them there.

Each joint becomes a token of its place, its depth and the features around it; tokens exchange what
they know and every one turns its own joint. Pixels supervise the maps directly, which small
networks learn far sooner than rotations from pooled features (compare Sun et al. 2018 and
Kocabas et al. 2021, PARE).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.models.heads import StartBuffers, condition_width, gentle_linear
from meshreg.models.joint_maps import JointMaps, TopDown
from meshreg.models.outputs import BodyState, JointEvidence

NUM_ROTATIONS = 24  # the first joints of the 45 are those that turn
_PLACE = 5  # x, y, depth and how sure of the place and of the depth


class JointMapHead(StartBuffers):
    """Maps of 45 joints, tokens, and the body; reads the backbone's maps at all resolutions."""

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        start: BodyState,
        width: int = 128,
        depth: int = 3,
        num_heads: int = 4,
        dropout: float = 0.0,
        num_condition: int = 0,
    ) -> None:
        """`in_channels` of maps from fine to coarse; `width` of tokens, `depth` of their layers."""
        super().__init__()
        self.num_condition = num_condition
        self.pyramid = TopDown(in_channels, width // 2)
        self.maps = JointMaps(width // 2)
        self.embed_joint = nn.Linear(width // 2 + _PLACE, width)
        self.names = nn.Parameter(0.02 * torch.randn(1, self.maps.num_joints, width))
        self.embed_whole = nn.Linear(in_channels[-1] + num_condition, width)
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 2 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.decpose = gentle_linear(width, start.pose_rot6d.shape[1])
        self.decshape = gentle_linear(width, start.betas.shape[1])
        self.deccam = gentle_linear(width, start.cam.shape[1])
        self.keep_start(start)

    def forward(
        self,
        maps: list[Float[Tensor, "B _ _ _"]],
        condition: Float[Tensor, "B D"] | None = None,
        start: BodyState | None = None,
    ) -> list[BodyState]:
        """One state in a list, as other heads give several; it says what the maps showed."""
        assert condition_width(condition) == self.num_condition, (
            condition_width(condition),
            self.num_condition,
        )
        evidence, around = self.maps(self.pyramid(maps))
        whole = maps[-1].mean((2, 3))
        if condition is not None:
            whole = torch.cat([whole, condition.to(whole.dtype)], 1)
        joints = torch.cat([around, _place(evidence).to(around.dtype)], 2)
        tokens = [self.embed_joint(joints) + self.names, self.embed_whole(whole)[:, None]]
        found = self.norm(self.mix(torch.cat(tokens, 1)))
        state = start or self.start(len(whole))
        return [
            BodyState(
                pose_rot6d=state.pose_rot6d + self._turns(found[:, :NUM_ROTATIONS]),
                betas=state.betas + self.decshape(found[:, -1]),
                cam=state.cam + self.deccam(found[:, -1]),
                evidence=evidence,
            )
        ]

    def _turns(self, tokens: Float[Tensor, "B 24 D"]) -> Float[Tensor, "B 144"]:
        """The correction of each rotation, by weights of its own, from its own token."""
        weight = self.decpose.weight.unflatten(0, (NUM_ROTATIONS, 6))
        return torch.einsum("bjd,jcd->bjc", tokens, weight).flatten(1) + self.decpose.bias


def _place(evidence: JointEvidence) -> Float[Tensor, "B J 5"]:
    others = (evidence.depth, evidence.log_spread, evidence.log_depth_spread)
    return torch.cat([evidence.points, torch.stack(others, -1)], -1)
