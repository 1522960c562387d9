"""The course of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfvae import plots
from tfvae.pictures.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training(subject: Subject) -> Figure:
    """The terms of the ELBO by epoch, of training and validation.

    Args:
        subject: of which there is a history.
    """
    assert subject.history is not None
    return plots.training(subject.history)
