"""Everything that a model can be measured by: a table of measurements.

A measurement is a line of `MEASUREMENTS`: what it is called, what computes it, and what of it goes
into a table. Nothing here imports TensorFlow before something is measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import tfvae
from tfvae.evaluate import told
from tfvae.evaluate.results import Asked, Measurement, Row, bar, mean_row, undefined

if TYPE_CHECKING:
    from tfvae.evaluate.batches import Estimate


def default(vae: tfvae.VAE) -> tuple[str, ...]:
    """Return what is measured where nothing is asked for: the bound, and the use of latents.

    An autoencoder has no bound, and is judged by what it reconstructs.
    """
    from tfvae.evaluate.batches import UndefinedError
    from tfvae.evaluate.divergence import check_densities

    use = "codes" if _coded(vae) else "active_units"
    try:
        check_densities(vae)
    except UndefinedError:
        return ("bound", "reconstruction", use)
    return ("bound", use)


def _coded(vae: tfvae.VAE) -> bool:
    """Say whether latents are codes or categories, whose use is counted."""
    layers = tfvae.layers
    kinds = (layers.VectorQuantizer, layers.OneHotCategorical, layers.Concrete)
    return isinstance(vae.posterior, kinds)


def _bound(asked: Asked, show: bool) -> Any:
    from tfvae.evaluate.divergence import check_densities

    check_densities(asked.vae)
    return tfvae.evaluate.evaluate(
        asked.vae,
        asked.x,
        asked.samples,
        **asked.given,
        progress=show,
        weight_draws=asked.weight_draws,
    )


def _bound_rows(found: Any) -> list[Row]:
    samples = f"{found.samples:,} importance samples"
    levels = found.kl_per_latent if len(found.kl_per_latent) > 1 else ()
    return [
        Row(
            "log_marginal",
            found.log_marginal,
            found.log_marginal_error,
            f"nats: bound on log p(x), {samples}",
        ),
        Row("elbo", found.elbo, None, "nats: log_likelihood − kl"),
        Row("log_likelihood", found.log_likelihood, None, "nats: E log p(x|z)"),
        Row("kl", found.kl, None, "nats: KL(q(z|x) ‖ p(z))"),
        *(Row(f"kl_{level}", kl, None, f"of level {level}") for level, kl in enumerate(levels)),
        Row("bits_per_dim", found.bits_per_dim, None, "−log_marginal, in bits", 4),
    ]


def _kl_per_dimension(asked: Asked, show: bool) -> Any:
    return _PerDimension(
        tfvae.evaluate.kl_per_dimension(asked.vae, asked.x, **asked.given), asked.vae.latent_names
    )


class _PerDimension(NamedTuple):
    """The KL of each latent, in nats, for each group."""

    kl: tuple[Any, ...]
    groups: tuple[str, ...]


def _per_dimension_rows(found: _PerDimension) -> list[Row]:
    rows = []
    for name, kl in zip(found.groups, found.kl, strict=True):
        largest = sorted(map(float, kl), reverse=True)
        shown = ", ".join(f"{value:.2f}" for value in largest[:8])
        more = f" and {len(largest) - 8} less" if len(largest) > 8 else ""
        label = "kl of each" if len(found.kl) == 1 else f"kl of each, {name}"
        rows.append(Row(label, largest[0], None, f"nats, largest first: {shown}{more}"))
    return rows


def _active_units(asked: Asked, show: bool) -> Any:
    if _coded(asked.vae):
        raise undefined(
            f"the posterior {type(asked.vae.posterior).__name__} is over codes or categories, "
            "whose use is counted: codes"
        )
    from tfvae.evaluate.batches import read

    read(asked.vae, asked.x, asked.condition, "measure", least=2)
    return tfvae.evaluate.active_units(asked.vae, asked.x, **asked.given)


def _active_rows(found: Any) -> list[Row]:
    units = ", ".join(str(variance.size) for variance in found.variances)
    active = ", ".join(map(str, found.counts))
    return [Row("active units", active, None, f"of {units}: {found.meaning}")]


def _diagnosis(asked: Asked, show: bool) -> Any:
    if _coded(asked.vae):
        raise undefined("its rules are of latents that are amounts; of codes, see codes")
    return tfvae.evaluate.diagnosis(asked.vae, asked.x, **asked.given)


def _diagnosis_rows(found: Any) -> list[Row]:
    rows = [Row("diagnosis", found.verdict, None, found.finding)]
    return rows + ([Row("", "", None, found.advice)] if found.advice else [])


def _surgery(asked: Asked, show: bool) -> Any:
    with bar(show, "aggregate posterior") as progress:
        return tfvae.evaluate.surgery(asked.vae, asked.x, **asked.given, progress=progress)


def _surgery_rows(found: Any) -> list[Row]:
    cap = f"log {found.examples:,} = {math.log(found.examples):.2f} at most"
    near = ", and near to it: more examples would show more" if found.saturated else ""
    part = found.components < found.examples
    how = f"; too high, of {found.components:,} posteriors" if part else ""
    rows = [
        mean_row("information", found.mutual_information, f"nats: I_q(n; z), {cap}{near}{how}"),
        mean_row(
            "mismatch", found.marginal_kl, "nats: KL(q(z) ‖ p(z)); kl = information + mismatch"
        ),
    ]
    if found.total_correlation is not None:
        meaning = "nats: KL(q(z) ‖ ∏ q(z_d))"
        rows.append(mean_row("total correlation", found.total_correlation, meaning))
    if found.dimension_kl is not None:
        meaning = "nats: Σ KL(q(z_d) ‖ p(z_d)), the rest of the mismatch"
        rows.append(mean_row("dimension-wise kl", found.dimension_kl, meaning))
    return rows


def _codes(asked: Asked, show: bool) -> Any:
    return tfvae.evaluate.code_usage(asked.vae, asked.x, condition=asked.condition)


def _codes_rows(found: Any) -> list[Row]:
    size = found.frequencies.shape[-1]
    return [
        Row("perplexity", found.perplexity, None, f"of codes; {size} where all are as frequent"),
        Row("codes used", found.used, None, f"of {found.codes}"),
    ]


def _reconstruction(asked: Asked, show: bool) -> Any:
    return tfvae.evaluate.reconstruction(asked.vae, asked.x, condition=asked.condition)


def _reconstruction_rows(found: Any) -> list[Row]:
    span = f", of a range of {found.data_range:g}" if found.data_range else ""
    meanings = {
        "mse": ("squared error of a value", 4),
        "psnr": (f"decibels{span}", 2),
        "ssim": ("structural similarity, 1 at best", 3),
        "accuracy": ("share of tokens that are right", 3),
    }
    rows = []
    for name, (meaning, digits) in meanings.items():
        value = getattr(found, name)
        if value is not None:
            rows.append(mean_row(name, value, f"reconstructions: {meaning}", digits))
    # Of data that are no tokens it goes without saying that no token is right.
    why = {name: reason for name, reason in found.why_not.items() if name != "accuracy"}
    return rows + [Row(name, "left out", None, reason) for name, reason in why.items()]


def _samples(asked: Asked, show: bool) -> Any:
    with bar(show, "samples") as progress:
        return tfvae.evaluate.sample_quality(
            asked.vae,
            asked.x,
            train=asked.train,
            features=asked.features,
            **asked.given,
            progress=progress,
        )


def _samples_rows(found: Any) -> list[Row]:
    best = found.frechet_of_data
    floor = "" if best is None else f"; {best:.3f} of as many training examples"
    return [
        Row("frechet", found.frechet, None, f"{found.samples:,} samples{floor}", 3),
        mean_row("kernel", found.kernel, "unbiased; around 0 at best", 4),
        Row("precision", found.precision, None, "share of samples near to data", 3),
        Row("recall", found.recall, None, "share of data near to samples", 3),
        Row("density", found.density, None, "data near to a sample, 1 expected", 3),
        Row("coverage", found.coverage, None, "share of data with a sample near", 3),
        Row("feature space", found.dimensions, None, f"of these six: {found.features}"),
    ]


def _ais(asked: Asked, show: bool) -> Any:
    vae, count = asked.vae, asked.examples
    # Of the same examples, so that what differs is the estimate.
    values, beside = _first(asked)
    with bar(show, "annealing") as progress:
        found = tfvae.evaluate.annealed(
            vae,
            values,
            chains=_CHAINS,
            temperatures=_TEMPERATURES,
            seed=asked.seed,
            condition=beside,
            progress=progress,
        )
    bound = None
    if _has_densities(vae):
        # Chains know no draws of weights: whatever is asked for, both are of their means.
        bound = tfvae.evaluate.log_marginal(
            vae, values, asked.samples, asked.seed, condition=beside
        )
    return _annealed(found, bound, count, asked.weight_draws)


def _has_densities(vae: tfvae.VAE) -> bool:
    """Say whether there is an importance weighted bound, for annealing to check."""
    from tfvae.evaluate.batches import UndefinedError
    from tfvae.evaluate.divergence import check_densities

    try:
        check_densities(vae)
    except UndefinedError:
        return False
    return True


def _first(asked: Asked) -> tuple[Any, Any]:
    """Return the first examples, as many as are asked for, and what stands beside them."""
    x, condition = asked.x, asked.condition
    streamed = isinstance(x, tfvae.records.Records)
    x = x.take(asked.examples) if streamed else x[: asked.examples]
    return x, None if condition is None else condition[: asked.examples]


_CHAINS, _TEMPERATURES = 8, 200


class Annealed(NamedTuple):
    """Annealed importance sampling beside the importance weighted bound, on the same examples.

    Attributes:
        log_marginal: the mean of the annealed bound, with its standard error over examples.
        gain: by how much it is above the importance weighted bound, in nats, with its standard
            error; well above 0 where that bound is loose. None where there is no such bound.
            Of a model with Bayesian layers both are of the means of the weights.
        effective: how many of the chains the weights are worth, on average.
        acceptance: the mean share of proposals that were accepted.
        chains: of each example.
        temperatures: between prior and posterior.
        examples: how many.
        weight_draws: over how many draws of weights the table's log_marginal is, which this is not
            of; 0 where that is of their means, too.
    """

    log_marginal: Estimate
    gain: Estimate | None
    effective: float
    acceptance: float
    chains: int
    temperatures: int
    examples: int
    weight_draws: int = 0


def _annealed(found: Any, bound: Any, examples: int, weight_draws: int) -> Annealed:
    from tfvae.evaluate.batches import Estimate

    return Annealed(
        Estimate.of(found.log_marginal),
        None if bound is None else Estimate.of(found.log_marginal - bound),
        float(found.effective.mean()),
        float(found.acceptance.mean()),
        found.chains,
        found.temperatures,
        examples,
        weight_draws,
    )


def _ais_rows(found: Annealed) -> list[Row]:
    how = f"{found.examples:,} examples, {found.temperatures} temperatures, {found.chains} chains"
    if found.weight_draws:
        how += f"; of the means of the weights, not of {found.weight_draws:,} draws of them"
    rows = [mean_row("annealed", found.log_marginal, f"nats: lower bound on log p(x), {how}")]
    if found.gain is not None:
        of = "these, of mean weights too" if found.weight_draws else "the same"
        meaning = f"nats: above log_marginal of {of}; that bound is loose by as much, or more"
        rows.append(mean_row("gain", found.gain, meaning))
    worth = f"of {found.chains}; near 1 take more temperatures"
    return [*rows, Row("effective chains", found.effective, None, worth)]


def _calibration(asked: Asked, show: bool) -> Any:
    from tfvae.evaluate.batches import read

    beside = read(asked.vae, asked.x, asked.condition, "measure").beside
    with bar(show, "calibration") as progress:
        return tfvae.evaluate.calibration(
            asked.vae, seed=asked.seed, condition=beside, progress=progress
        )


def _calibration_rows(found: Any) -> list[Row]:
    return [Row("calibration p", found.p_value, None, found.finding, 4)]


MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement("bound", "log p(x), the ELBO and its terms", _bound, _bound_rows),
    Measurement("active_units", "latents that follow the data", _active_units, _active_rows),
    Measurement(
        "kl_per_dimension", "the KL of each latent", _kl_per_dimension, _per_dimension_rows
    ),
    Measurement("codes", "the use of codes", _codes, _codes_rows),
    Measurement("diagnosis", "what is wrong with the latents", _diagnosis, _diagnosis_rows),
    Measurement("surgery", "the KL taken apart", _surgery, _surgery_rows),
    Measurement(
        "reconstruction", "errors of reconstructions", _reconstruction, _reconstruction_rows
    ),
    Measurement("samples", "distances of samples from data", _samples, _samples_rows, True),
    Measurement("ais", "log p(x) by annealed importance sampling", _ais, _ais_rows),
    Measurement("calibration", "ranks of latents", _calibration, _calibration_rows),
    Measurement("probes", "what codes tell of labels", told.probes, told.probe_rows, True),
    Measurement(
        "disentanglement",
        "what codes tell of factors",
        told.disentanglement,
        told.disentanglement_rows,
        True,
    ),
)
"""In the order in which they are taken and shown."""
