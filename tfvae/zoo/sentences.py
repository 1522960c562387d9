"""Sentences: a latent for each, written word by word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import tfvae

if TYPE_CHECKING:
    from tfvae.families import SentenceVAE


def sentence_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    vocabulary: Sequence[str] | tfvae.text.Tokeniser | None = None,
    cell: Literal["gru", "lstm"] = "gru",
    units: int = 256,
    embedding: int = 128,
    depth: int = 1,
    word_dropout: float = 0.25,
    annealing: int = 2000,
    free_bits: float = 0.0,
    seed: int = 0,
) -> SentenceVAE:
    """Sentence VAE: a recurrent encoder and decoder, with word dropout and KL annealing.

    Its data are rows of tokens: ``--data grammar``, or a text file with a sentence a line.

    Args:
        data_shape: (T,), the length of a row of tokens.
        latent_dim: the number of latent variables.
        vocabulary: the words by their tokens, or a tokeniser; that of ``tfvae.text.ENGLISH`` by
            default.
        cell: of the recurrent layers.
        units: of a recurrent layer.
        embedding: size of a token's vector.
        depth: how many recurrent layers the encoder has, and the decoder.
        word_dropout: the probability that the decoder is not shown a word, in training.
        annealing: steps in which the weight of the KL rises from 0 to 1; 0 for none.
        free_bits: nats of the KL, averaged over a batch, that cost nothing.
        seed: of the weights, the noise and the data order.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for data that are not rows, sizes below 1, or rates that are none.

    Slots: likelihood=Tokens

    Reference: Bowman et al. (2016), Generating sentences from a continuous space,
        arXiv:1511.06349.
    """
    if len(data_shape) != 1:
        raise ValueError(
            "Expected `data_shape` to be the length of a row of tokens, (T,). Received: "
            f"data_shape={tuple(data_shape)}. Sentences become such rows by tfvae.text.Tokeniser."
        )
    tokeniser = (
        tfvae.text.corpus.tokeniser() if vocabulary is None else tfvae.text.Tokeniser.of(vocabulary)
    )
    length, count = int(data_shape[0]), len(tokeniser)
    posterior = tfvae.layers.Normal((latent_dim,), name="posterior")
    sizes: dict[str, Any] = {"cell": cell, "units": units, "embedding": embedding, "depth": depth}
    f, o = tfvae.families, tfvae.objectives
    beta = o.LinearWarmup(annealing) if annealing else 1.0
    return f.SentenceVAE(
        f.recurrent_encoder(length, count, posterior.params_shape, seed=seed, **sizes),
        f.RecurrentDecoder(latent_dim, length=length, vocabulary=count, seed=seed, **sizes),
        prior=tfvae.priors.StandardNormal((latent_dim,), name="prior"),
        posterior=posterior,
        likelihood=f.Tokens((length,), vocabulary=count, name="likelihood"),
        objective=o.ELBO(beta=beta, free_bits=free_bits),
        tokeniser=tokeniser,
        word_dropout=word_dropout,
        seed=seed,
    )
