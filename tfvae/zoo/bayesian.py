"""Models whose weights are random variables too."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import tfvae
from tfvae.zoo.base import Options, vae


def bayesian_vae(
    data_shape: tuple[int, ...],
    latent_dim: int = 32,
    *,
    bayesian: Literal["decoder", "both"] = "decoder",
    estimator: Literal["auto", "local", "flipout"] = "auto",
    prior_scale: float = 1.0,
    learn_prior: bool = False,
    initial_scale: float = 0.01,
    weight_warmup: int = 0,
    **options: Unpack[Options],
) -> tfvae.VAE:
    r"""Full variational Bayes: the decoder's weights have a posterior as the latents have.

    .. math:: \log p(x_{1..N}) \ge \sum_n \mathrm E_{q(w)} \bigl[ \mathrm E_q \log p(x_n|z, w)
        - \mathrm{KL}(q(z|x_n) \| p(z)) \bigr] - \mathrm{KL}(q(w) \| p(w))

    In training ``elbo`` is this bound for each example, with its share of the weights' KL; that
    is logged, whole, as ``weight_kl``. On other data, in ``evaluate``, weights are given and
    nothing is paid for them. To generate, to score and to export, weights are their means;
    ``tfvae.bayesian.draw(vae, seed)`` is a model of a draw of them.

    Args:
        data_shape: the shape of one example.
        latent_dim: the number of latent variables.
        bayesian: whose weights are random: the ``"decoder"``'s, which are the model's, or those of
            ``"both"``, where the encoder's are regularised alike.
        estimator: ``"local"`` reparameterisation, ``"flipout"``, or ``"auto"``: local where it is
            exact, in dense layers, and Flipout in convolutions.
        prior_scale: standard deviation of the weights' prior.
        learn_prior: whether each layer learns its own prior_scale.
        initial_scale: standard deviation of the weights' posterior at first.
        weight_warmup: steps in which the weight of the weights' KL rises from 0 to 1; 0 for none.
        **options: as of :func:`vae`.

    Returns:
        The model, ready for ``fit``.

    Raises:
        ValueError: for unknown choices, and scales that are not positive.

    Slots: prior=StandardNormal, posterior=Normal, objective=ELBO

    Reference: Kingma and Welling (2014), Auto-encoding variational Bayes, appendix F,
        arXiv:1312.6114; Kingma, Salimans and Welling (2015), arXiv:1506.02557; Wen et al. (2018),
        arXiv:1803.04386.
    """
    tfvae.objectives.check_choice("bayesian", bayesian, ("decoder", "both"))
    plain = vae(data_shape, latent_dim, **options)
    weights: dict[str, Any] = {
        "estimator": estimator,
        "prior_scale": prior_scale,
        "learn_prior": learn_prior,
        "initial_scale": initial_scale,
        "kl_weight": tfvae.objectives.LinearWarmup(weight_warmup) if weight_warmup else 1.0,
    }
    convert = tfvae.bayesian.to_bayesian
    return tfvae.VAE(
        convert(plain.encoder, **weights) if bayesian == "both" else plain.encoder,
        convert(plain.decoder, **weights),
        prior=plain.prior,
        posterior=plain.posterior,
        likelihood=plain.likelihood,
        seed=plain.seed,
    )
