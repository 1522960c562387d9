"""The same model written by hand in PyTorch: eager, and with `torch.compile`.

Batches are gathered whole from a tensor by a permutation, which is far faster than a DataLoader
over a TensorDataset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from contenders import RATE, Task
from contenders.torch_networks import Encoder, decoder


class HandVAE(nn.Module):
    """From images to the mean loss over the batch, in nats."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.samples = task.samples
        self.encoder = Encoder(task)
        self.decoder = decoder(task)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the negative ELBO, or the negative importance weighted bound."""
        mean, log_var = self.encoder(x)
        epsilon = torch.randn(self.samples, *mean.shape, device=x.device)
        z = mean + torch.exp(0.5 * log_var) * epsilon
        logits = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        target = x.expand_as(logits)
        errors = binary_cross_entropy_with_logits(logits, target, reduction="none")
        errors = errors.sum(dim=(2, 3, 4))
        if self.samples == 1:
            kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(dim=1)
            return (errors[0] + kl).mean()
        kl = (-0.5 * (log_var + epsilon**2) + 0.5 * z**2).sum(dim=-1)
        return -(torch.logsumexp(-errors - kl, dim=0) - math.log(self.samples)).mean()


def eager(task: Task, x: np.ndarray) -> Callable[[], float]:
    model = on_device(task)
    return trainer(task, x, model, model)


def compiled(task: Task, x: np.ndarray) -> Callable[[], float]:
    model = on_device(task)
    return trainer(task, x, model, torch.compile(model))


def on_device(task: Task) -> HandVAE:
    torch.manual_seed(0)
    return HandVAE(task).to("cuda" if torch.cuda.is_available() else "cpu")


def trainer(task: Task, x: np.ndarray, model: HandVAE, loss_of: Any) -> Callable[[], float]:
    device = next(model.parameters()).device
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def run() -> float:
        for _ in range(task.epochs):
            total = torch.zeros((), device=device)
            for rows in torch.randperm(len(images), device=device).split(task.batch_size):
                loss = loss_of(images[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(rows)
        return float(total) / len(images)

    return run
