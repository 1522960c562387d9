"""Pythae: its trainer, and its estimate of the likelihood."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn
from torch.nn.functional import softplus

from contenders import HIDDEN, LATENT, RATE, Task
from contenders import torch_networks as networks


class Encoder(BaseEncoder):
    """The encoder, with the names that Pythae asks for."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = networks.Encoder(task)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        """Return mean and log-variance."""
        mean, log_var = self.network(x)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    """The decoder; Pythae takes means and not logits."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network = networks.decoder(task)

    def forward(self, z: torch.Tensor) -> ModelOutput:
        """Return the mean of p(x|z)."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


def model(task: Task) -> VAE:
    torch.manual_seed(0)
    options = {"input_dim": (1, 28, 28), "latent_dim": LATENT, "reconstruction_loss": "bce"}
    parts = {"encoder": Encoder(task), "decoder": Decoder(task)}
    if task.epochs and task.samples > 1:
        return IWAE(IWAEConfig(number_samples=task.samples, **options), **parts)
    return VAE(VAEConfig(**options), **parts)


def trainer(task: Task, x: np.ndarray) -> Callable[[], float]:
    vae = model(task)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    data = BaseDataset(images, torch.zeros(len(images)))
    losses: list[float] = []

    class Recording(BaseTrainer):
        """Keeps the losses, which Pythae only logs."""

        def train_step(self, epoch: int) -> float:
            losses.append(super().train_step(epoch))
            return losses[-1]

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=task.epochs,
                per_device_train_batch_size=task.batch_size,
                learning_rate=RATE,
                keep_best_on_train=True,
            )
            Recording(model=vae, train_dataset=data, training_config=config).train()
        return losses[-1]

    return run


def evaluator(task: Task, data: Mapping[str, np.ndarray]) -> Callable[[], float]:
    """Estimate log p(x) of the compared images, of the same dense model."""
    vae = model(task).eval()
    images = torch.from_numpy(data["x"][: task.examples]).permute(0, 3, 1, 2)
    weights = iter(torch.from_numpy(data[f"weight_{i}"]) for i in range(8))
    body, decoder = vae.encoder.network.body, vae.decoder.network
    with torch.no_grad():
        for linear in (body[1], head := nn.Linear(HIDDEN, 2 * LATENT), decoder[0], decoder[2]):
            linear.weight.copy_(next(weights).T)
            linear.bias.copy_(next(weights))
    vae.encoder.network = Softplus(body, head)

    def run() -> float:
        with torch.no_grad():
            return float(vae.get_nll(images, task.samples, task.batch_size))

    return run


class Softplus(nn.Module):
    """Our encoder's parameters, location and raw scale, as mean and log-variance."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance, [B, 20] each."""
        mean, raw = self.head(self.body(x)).chunk(2, dim=-1)
        return mean, 2 * torch.log(softplus(raw) + 1e-4)
