"""Ex-post density estimation: a prior fitted to what a trained encoder makes of the data."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfvae import intake, layers, networks, random
from tfvae.checks import fitting_priors
from tfvae.data import Examples
from tfvae.features import twin
from tfvae.layers.support import Support
from tfvae.model import VAE
from tfvae.objectives import Reconstruction, check_choice
from tfvae.priors import (
    Codebook,
    MixtureOfGaussians,
    Parametric,
    Prior,
    SecondStage,
    StandardNormal,
)
from tfvae.step import check_count

Family = Literal["normal", "mixture", "flow", "vae"]

_WIDE = (256, 256)
"""Hidden layers of a second VAE."""

_DRAWS = 1 << 14
"""Draws from the aggregate posterior that a prior is fitted to, at least; all examples count."""


def fit_prior(
    vae: VAE,
    x: Any,
    prior: Prior | Family = "mixture",
    *,
    condition: Any = None,
    epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    verbose: int = 0,
) -> VAE:
    r"""Return a new VAE whose prior is fitted to the aggregate posterior of the data.

    .. math:: \max_\theta \frac1N \sum_n \mathrm E_{q(z|x_n)} \log p_\theta(z)

    which is to minimise the KL from the aggregate posterior. Encoder, decoder, posterior and
    likelihood are copies with the same weights; `vae` and a `prior` that was given stay as they
    are. The new model is ready to generate, evaluate, save, export and train on.

    Args:
        vae: a trained model.
        x: examples [N, *data], or Examples.
        prior: ``"mixture"``, 10 Gaussians with full covariances, by expectation maximisation;
            ``"flow"``, a RealNVP (a MAF for one latent); ``"normal"``, a full-covariance Normal;
            ``"vae"``, a second VAE of the same latent size (a two-stage VAE), which has no
            density; or any prior of your own that can learn, by gradient ascent.
        condition: for a conditional prior, one for each example; Examples bring theirs as y.
        epochs: passes over the draws, where the fit is by gradient.
        batch_size: draws in a step, where the fit is by gradient.
        learning_rate: of Adam, where the fit is by gradient.
        seed: of the draws and of the fit.
        verbose: as in Keras's fit.

    Returns:
        The new VAE, with the same objective. Where its prior has no density the objective is
        :class:`tfvae.objectives.Reconstruction`.

    Raises:
        ValueError: for an unknown family, a prior of another shape or support, one without
            anything to learn, one without a density, or fewer examples than components.
        TypeError: if `prior` is neither a name nor a prior, or x is not in memory.
        FloatingPointError: where the fit becomes NaN.

    Example:
        >>> vae = tfvae.zoo.vae((8, 8), latent_dim=2, hidden=(16,))
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8)).astype("float32")
        >>> type(vae.fit_prior(x, "mixture").prior).__name__
        'MixtureOfGaussians'

    References:
        Ghosh et al. (2020), From variational to deterministic autoencoders, arXiv:1903.12436.
        Dai and Wipf (2019), Diagnosing and enhancing VAE models, arXiv:1903.05789.
    """
    check_count("epochs", epochs)
    check_count("batch_size", batch_size)
    if not 0 < learning_rate < math.inf:
        raise ValueError(
            "Expected `learning_rate` to be a positive number. "
            f"Received: learning_rate={learning_rate!r}."
        )
    check_model(vae)
    if not intake.is_indexed(x):
        raise TypeError(
            "Expected `x` to be examples in memory: an array or tfvae.data.Examples. "
            f"Received: a {type(x).__name__}."
        )
    examples = intake.examples(vae.likelihood, *vae.beside(x, condition))
    fitted = _start(vae, prior, seed)
    if not (fitted.has_density or isinstance(fitted, SecondStage)):
        raise ValueError(
            f"Expected a prior with a density to fit. Received: {type(fitted).__name__}."
        )
    copies = {name: twin(getattr(vae, name)) for name in _KEPT}
    if isinstance(fitted, Codebook):  # its codes are the new posterior's, and not a copy of these
        fitted = Codebook(copies["posterior"], learn=True)
    objective = vae.objective if fitted.has_density else Reconstruction()
    # Built before the fit: a prior that does not fit the slots is refused at once.
    slots = {**copies, "prior": fitted, "objective": objective}
    new = type(vae)(**slots, seed=vae.seed, name=vae.name, **vae.own_config)
    for model in (vae, new):
        model.check_condition(examples, "vae.fit_prior(x, condition=c)")
    draws, conditions = _draws(vae, examples, seed)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "verbose": verbose}
    if isinstance(fitted, SecondStage):
        second = _second_vae(fitted, seed)
        second.compile(keras.optimizers.Adam(learning_rate))
        second.fit(draws, **options)
        fitted.trainable = False  # nor its parts: without a density no gradient reaches them
    elif isinstance(fitted, MixtureOfGaussians) and len(fitted.event_shape) == 1:
        if len(examples) < fitted.components:
            raise ValueError(
                f"Expected at least {fitted.components} examples, one for each component of the "
                f"prior. Received: {len(examples)}."
            )
        _fit_mixture(fitted, draws, seed)
    else:
        _ascend(fitted, draws, conditions, learning_rate, seed, options)
    if not all(np.all(np.isfinite(v.numpy())) for v in fitted.variables):
        raise FloatingPointError(
            f"The fit of {type(fitted).__name__} became NaN or infinite. Try a lower "
            f"learning_rate. Received: learning_rate={learning_rate}."
        )
    if vae.compiled:
        new.compile_from_config(vae.get_compile_config())
    new.step.assign(vae.step)
    return new


def check_model(vae: VAE) -> None:
    """Raise a ``TypeError`` for a model whose prior cannot be fitted after training."""
    if not vae.takes_another_prior:
        raise TypeError(
            "Expected a model whose prior can be fitted after training. Received: a "
            f"{type(vae).__name__}, whose latents are not one group that a prior is put to."
        )


_KEPT = ("encoder", "decoder", "posterior", "likelihood")


def _start(vae: VAE, prior: Prior | str, seed: int) -> Prior:
    """Return an unfitted prior from its name, or a copy of one that is given."""
    shape = vae.latent_shape
    if isinstance(prior, Codebook):
        prior = Codebook(prior.quantizer, learn=True)
    if isinstance(prior, Prior):
        copied: Prior = twin(prior)
        if not copied.trainable_variables:
            raise ValueError(
                "Expected a `prior` with something to learn. "
                f"Received: {type(prior).__name__}, which has no trainable weights."
            )
        return copied
    if isinstance(prior, str):
        check_choice("prior", prior, get_args(Family))
        if not vae.posterior.support <= Support.REAL:
            raise ValueError(
                f"Expected `prior` to be one on the posterior's {vae.posterior.support.value}, "
                f"given as a prior. Received: prior={prior!r}, a family on the real numbers. What "
                f"fits: {fitting_priors(vae.posterior)}."
            )
    match prior:
        case "mixture":
            return MixtureOfGaussians(shape, covariance="full", seed=seed)
        case "normal":
            return MixtureOfGaussians(shape, components=1, covariance="full")
        case "flow" if shape[-1] == 1:
            return Parametric(layers.MAF(shape, seed=seed))
        case "flow":
            return Parametric(layers.RealNVP(shape, seed=seed))
        case "vae":
            likelihood = layers.Normal(shape, scale="learned")
            decoder = networks.mlp_decoder(shape, shape, hidden=_WIDE, seed=seed + 1)
            return SecondStage(StandardNormal(shape), decoder, likelihood)
    raise TypeError(
        f"Expected `prior` to be the name of a family or a prior. Received: prior={prior!r}."
    )


def _second_vae(stage: SecondStage, seed: int) -> VAE:
    """Return the VAE to train, of which `stage` is the generator."""
    shape = stage.event_shape
    posterior = layers.Normal(shape)
    return VAE(
        networks.mlp_encoder(shape, posterior.params_shape, hidden=_WIDE, seed=seed),
        stage.decoder,
        prior=stage.prior,
        posterior=posterior,
        likelihood=stage.likelihood,
        seed=seed,
        name="second_stage",
    )


def _draws(
    vae: VAE, examples: Examples, seed: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return draws z [M, *latent] from q(z|x) of all examples, each with its condition."""
    x, repeats = examples.values(), max(1, -(-_DRAWS // len(examples)))
    if not vae.posterior.has_density:
        repeats = 1  # A point is drawn once.
    parts = []
    for start in range(0, len(x), 1024):
        batch = tf.constant(x[start : start + 1024])
        key = random.fold(seed, random.PRIOR, start)
        condition = None
        if examples.y is not None and vae.conditional:
            condition = tf.constant(examples.y[start : start + 1024])
        parts.append(vae.trace(batch, repeats, key, condition=condition).latents[0].z.numpy())
    z = np.concatenate(parts, axis=1).reshape(-1, *vae.latent_shape)
    # Not seen here, NaN would only show in what the new model draws.
    if not np.all(np.isfinite(z)):
        raise ValueError("Expected finite latents. Received: NaN or infinity from the encoder.")
    y = examples.y
    return z, None if y is None else np.tile(y, (repeats, *[1] * (y.ndim - 1)))


def _fit_mixture(prior: MixtureOfGaussians, draws: npt.NDArray[Any], seed: int) -> None:
    from sklearn.mixture import GaussianMixture

    kind = {"full": "full", "diagonal": "diag"}[prior.covariance]
    model = GaussianMixture(prior.components, covariance_type=kind, random_state=seed, max_iter=500)
    model.fit(draws.astype(np.float64))
    covariance = model.covariances_
    if kind == "diag":
        covariance = covariance[..., None] * np.eye(draws.shape[-1])
    prior.assign(model.weights_, model.means_, covariance)


class _Density(keras.Model):
    """Maximises the mean log-density of a prior."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior
        self.built = True

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        z, condition, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            log_prob = self.prior(condition if self.prior.conditional else None).log_prob(z)
            loss = -tf.reduce_mean(log_prob)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self._loss_tracker.update_state(loss)
        logs: dict[str, tf.Tensor] = self.get_metrics_result()
        return logs


def _ascend(
    prior: Prior,
    draws: npt.NDArray[Any],
    conditions: npt.NDArray[Any] | None,
    learning_rate: float,
    seed: int,
    options: dict[str, Any],
) -> None:
    order = np.random.default_rng(seed).permutation(len(draws))
    steps = options["epochs"] * -(-len(draws) // options["batch_size"])
    model = _Density(prior)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    # Early on a flow meets draws at densities of e^-1000: one of these must not throw it off.
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0))
    given = conditions[order] if prior.conditional and conditions is not None else None
    model.fit(draws[order], given, shuffle=False, **options)
