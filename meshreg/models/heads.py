"""From a map of features to body parameters, by repeated corrections of a mean body."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.models.outputs import BodyState


class StartBuffers(nn.Module):
    """A module that keeps the body it starts from, under the names of released checkpoints."""

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def keep_start(self, start: BodyState) -> None:
        """Store the start with the weights, which mean nothing without it."""
        assert len(start.betas) == 1, start.betas.shape
        self.register_buffer("init_pose", start.pose_rot6d.clone())
        self.register_buffer("init_shape", start.betas.clone())
        self.register_buffer("init_cam", start.cam.clone())

    def start(self, batch_size: int) -> BodyState:
        state = BodyState(pose_rot6d=self.init_pose, betas=self.init_shape, cam=self.init_cam)
        return state.expand(batch_size)


class IterativeHead(StartBuffers):
    """The regressor of HMR (Kanazawa et al. 2018): features and a guess give a better guess.

    Layers and names are those of SPIN (Kolotouros et al. 2019) and its descendants.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        start: BodyState,
        num_iterations: int = 3,
        hidden: int = 1024,
        dropout: float = 0.5,
        num_condition: int = 0,
    ) -> None:
        super().__init__()
        sizes = [start.pose_rot6d.shape[1], start.betas.shape[1], start.cam.shape[1]]
        self.in_channels, self.num_condition = in_channels, num_condition
        self.num_iterations = num_iterations
        self.fc1 = nn.Linear(in_channels + num_condition + sum(sizes), hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.decpose, self.decshape, self.deccam = (gentle_linear(hidden, size) for size in sizes)
        self.keep_start(start)

    def forward(
        self,
        features: Float[Tensor, "B C h w"],
        condition: Float[Tensor, "B D"] | None = None,
        start: BodyState | None = None,
    ) -> list[BodyState]:
        """The guess after every iteration; `condition` comes with heads that were made for one."""
        assert condition_width(condition) == self.num_condition, (
            condition_width(condition),
            self.num_condition,
        )
        fixed = features.mean((2, 3))
        if condition is not None:
            fixed = torch.cat([fixed, condition.to(fixed.dtype)], 1)
        state = start or self.start(len(features))
        states = []
        for _ in range(self.num_iterations):
            state = self._correct(fixed, state)
            states.append(state)
        return states

    def _correct(self, fixed: Float[Tensor, "B D"], state: BodyState) -> BodyState:
        x = torch.cat([fixed, state.pose_rot6d, state.betas, state.cam], 1)
        # No activation in between: that is how the published network is.
        x = self.dropout(self.fc2(self.dropout(self.fc1(x))))
        return BodyState(
            pose_rot6d=state.pose_rot6d + self.decpose(x),
            betas=state.betas + self.decshape(x),
            cam=state.cam + self.deccam(x),
        )


def gentle_linear(width: int, size: int) -> nn.Linear:
    """A readout whose first corrections are small, so that training starts at the mean body."""
    layer = nn.Linear(width, size)
    nn.init.xavier_uniform_(layer.weight, gain=0.01)
    return layer


def condition_width(condition: Tensor | None) -> int:
    """How many numbers about the camera came with the features."""
    return 0 if condition is None else condition.shape[1]
