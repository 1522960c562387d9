"""Models of x given a condition."""

from __future__ import annotations

from typing import Unpack

import tfvae
from tfvae.zoo.base import Options, vae


def cvae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    classes: int = 10,
    vector: int = 0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    r"""Conditional VAE: encoder and decoder see a label or a vector, which generation is given.

    .. math:: p(x|c) = \int p(x|z, c)\, p(z)\, dz, \qquad q(z|x, c)

    Train with ``fit(x, c)``, generate with ``generate(n, condition=c)``.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        classes: the number of classes, of labels from 0 on.
        vector: the length of a vector in place of a label; 0 for labels.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Slots: prior=StandardNormal, posterior=Normal

    Reference: Sohn, Lee and Yan (2015), Learning structured output representation using deep
        conditional generative models, NeurIPS.
    """
    condition = (vector,) if vector else classes
    return vae(data_shape, latent_dim, condition=condition, **options)
