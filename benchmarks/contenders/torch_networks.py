"""The networks in PyTorch, for all who need them there."""

from __future__ import annotations

import math

import torch
from torch import nn

from contenders import DENSE, FILTERS, HIDDEN, LATENT, SHAPE, Task

PIXELS = math.prod(SHAPE)


class Encoder(nn.Module):
    """Images [B, 1, 28, 28] to the mean and the logarithm of the variance of q(z|x)."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        if task.network == "mlp":
            width = HIDDEN
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, width), nn.ReLU())
        else:
            (first, second), width = FILTERS, DENSE
            self.body = nn.Sequential(
                nn.Conv2d(1, first, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(first, second, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(7 * 7 * second, width),
                nn.ReLU(),
            )
        self.mean = nn.Linear(width, LATENT)
        self.log_var = nn.Linear(width, LATENT)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both, [B, 20] each."""
        h = self.body(x)
        return self.mean(h), self.log_var(h)


def decoder(task: Task) -> nn.Sequential:
    """Return the network from z [N, 20] to logits [N, 1, 28, 28]."""
    if task.network == "mlp":
        return nn.Sequential(
            nn.Linear(LATENT, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, PIXELS),
            nn.Unflatten(1, (1, 28, 28)),
        )
    first, second = FILTERS
    return nn.Sequential(
        nn.Linear(LATENT, DENSE),
        nn.ReLU(),
        nn.Linear(DENSE, 7 * 7 * second),
        nn.ReLU(),
        nn.Unflatten(1, (second, 7, 7)),
        nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(first, 1, 4, stride=2, padding=1),
    )
