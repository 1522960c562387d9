"""SciPy's twin of each distribution layer: named parameters in, a frozen distribution out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import integrate, special, stats

Named = dict[str, Any]


class Twin:
    """What is asked of SciPy's frozen distributions, for one that SciPy lacks, on [0, 1]."""

    def logpdf(self, x: Any) -> Any:
        raise NotImplementedError

    def support(self) -> tuple[Any, Any]:
        return np.zeros(self.shape), np.ones(self.shape)

    def mean(self) -> Any:
        flat = [
            integrate.quad(lambda t, i=i: t * np.exp(self.logpdf(t)[i]), 0, 1, epsabs=1e-10)[0]
            for i in np.ndindex(self.shape)
        ]
        return np.reshape(flat, self.shape)

    shape: tuple[int, ...]


class Kumaraswamy(Twin):
    def __init__(self, concentration1: Any, concentration0: Any) -> None:
        self.a, self.b, self.shape = concentration1, concentration0, concentration1.shape

    def logpdf(self, x: Any) -> Any:
        a, b = self.a, self.b
        return np.log(a * b) + (a - 1) * np.log(x) + (b - 1) * np.log1p(-(x**a))

    def cdf(self, x: Any) -> Any:
        return 1 - (1 - x**self.a) ** self.b

    def mean(self) -> Any:
        return self.b * special.beta(1 + 1 / self.a, self.b)


class ContinuousBernoulli(Twin):
    def __init__(self, logits: Any) -> None:
        self.eta, self.shape = logits, logits.shape

    def logpdf(self, x: Any) -> Any:
        return self.eta * x + np.log(self.eta / np.expm1(self.eta))

    def cdf(self, x: Any) -> Any:
        return np.expm1(self.eta * x) / np.expm1(self.eta)


class RelaxedBernoulli(Twin):
    """The sigmoid of a logistic, at the layer's default temperature."""

    def __init__(self, logits: Any, temperature: float = 0.5) -> None:
        self.law, self.shape = stats.logistic(logits / temperature, 1 / temperature), logits.shape
        self.probability = special.expit(logits)

    def logpdf(self, x: Any) -> Any:
        return self.law.logpdf(special.logit(x)) - np.log(x) - np.log1p(-x)

    def cdf(self, x: Any) -> Any:
        return self.law.cdf(special.logit(x))

    def mean(self) -> Any:
        return self.probability  # of rounding to 1: what stands for the mean


class DiscretizedLogistic(Twin):
    """Differences of CDFs, taken in the nearer tail; the mean before rounding, by quadrature."""

    def __init__(self, loc: Any, scale: Any, levels: int = 256) -> None:
        self.law, self.half = stats.logistic(loc, scale), 0.5 / (levels - 1)

    def pmf(self, x: Any) -> Any:
        low = np.where(x < self.half, -np.inf, x - self.half)
        high = np.where(x > 1 - self.half, np.inf, x + self.half)
        rising = self.law.cdf(high) - self.law.cdf(low)
        return np.where(x < self.law.median(), rising, self.law.sf(low) - self.law.sf(high))

    def logpmf(self, x: Any) -> Any:
        return np.log(self.pmf(x))

    def mean(self) -> Any:
        loc, scale = np.broadcast_arrays(*self.law.args)
        return np.vectorize(_clipped_logistic_mean)(loc, scale)


def _clipped_logistic_mean(loc: float, scale: float) -> float:
    # E[clip(y, 0, 1)] is the integral of P(y > t) over [0, 1], in pieces around its bend.
    ends = np.clip([0, *(loc + scale * np.array([-30, 0, 30])), 1], 0, 1)
    tail = stats.logistic(loc, scale).sf
    return sum(integrate.quad(tail, *piece, epsabs=1e-12)[0] for piece in itertools.pairwise(ends))


def _triangular(low: Any, high: Any, peak: Any) -> Any:
    return stats.triang((peak - low) / (high - low), low, high - low)


def _negative_binomial(total_count: Any, logits: Any) -> Any:
    return stats.nbinom(total_count, special.expit(-logits))


class ZeroInflated(Twin):
    def __init__(self, dropout_logits: Any, **counts: Any) -> None:
        self.dropout, self.counts = special.expit(dropout_logits), _negative_binomial(**counts)

    def pmf(self, x: Any) -> Any:
        return self.dropout * (np.asarray(x) == 0) + (1 - self.dropout) * self.counts.pmf(x)

    def logpmf(self, x: Any) -> Any:
        return np.log(self.pmf(x))

    def cdf(self, x: Any) -> Any:
        return self.dropout * (np.asarray(x) >= 0) + (1 - self.dropout) * self.counts.cdf(x)

    def mean(self) -> Any:
        return (1 - self.dropout) * self.counts.mean()


# One distribution for each value of an event.
UNIVARIATE: dict[str, Callable[..., Any]] = {
    "Bernoulli": lambda logits: stats.bernoulli(special.expit(logits)),
    "Beta": lambda concentration1, concentration0: stats.beta(a=concentration1, b=concentration0),
    "Cauchy": stats.cauchy,
    "Chi2": stats.chi2,
    "ContinuousBernoulli": ContinuousBernoulli,
    "DiscretizedLogistic": DiscretizedLogistic,
    "Erlang": lambda rate: stats.erlang(3, scale=1 / rate),
    "Exponential": lambda rate: stats.expon(scale=1 / rate),
    "F": lambda df1, df2: stats.f(dfn=df1, dfd=df2),
    "Gamma": lambda concentration, rate: stats.gamma(concentration, scale=1 / rate),
    "Gompertz": lambda concentration, rate: stats.gompertz(concentration, scale=1 / rate),
    "Gumbel": stats.gumbel_r,
    "InverseGamma": lambda concentration, scale: stats.invgamma(concentration, scale=scale),
    "Kumaraswamy": Kumaraswamy,
    "Laplace": stats.laplace,
    "Logistic": stats.logistic,
    "LogNormal": lambda loc, scale: stats.lognorm(scale, scale=np.exp(loc)),
    "NegativeBinomial": _negative_binomial,
    "Normal": stats.norm,
    "Pareto": lambda concentration: stats.pareto(concentration, scale=0.5),
    "Poisson": lambda log_rate: stats.poisson(np.exp(log_rate)),
    "RelaxedBernoulli": RelaxedBernoulli,
    "Rayleigh": lambda scale: stats.rayleigh(scale=scale),
    "Reciprocal": lambda log_low, log_high: stats.loguniform(np.exp(log_low), np.exp(log_high)),
    "StandardNormal": lambda: stats.norm(np.zeros((2, 3)), np.ones((2, 3))),
    "StudentT": lambda loc, scale, df: stats.t(df, loc, scale),
    "Triangular": _triangular,
    "Uniform": lambda low, high: stats.uniform(low, high - low),
    "Weibull": lambda concentration, scale: stats.weibull_min(concentration, scale=scale),
    "ZeroInflatedNegativeBinomial": ZeroInflated,
}


def _gaussian(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    loc = named["loc"]
    if "scale_tril" in named:
        covariance = named["scale_tril"] @ named["scale_tril"].T
    else:
        factor = named["cov_perturb_factor"]
        covariance = np.diag(named["cov_diag_factor"]) + factor @ factor.T
    joint = stats.multivariate_normal(loc, covariance)
    return joint, lambda w: stats.norm(w @ loc, np.sqrt(w @ covariance @ w))


def _student(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    loc, shape = named["loc"], named["scale_tril"] @ named["scale_tril"].T
    joint = stats.multivariate_t(loc, shape, df=5)
    return joint, lambda w: stats.t(5, w @ loc, np.sqrt(w @ shape @ w))


def _dirichlet(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    alpha = named["concentration"]
    # Sums of axes are Betas: the weights are 0 or 1.
    return stats.dirichlet(alpha), lambda w: stats.beta(w @ alpha, alpha.sum() - w @ alpha)


class MixtureOfGaussians:
    """One Gaussian for each component, and the law of a weighted sum a mixture of Normals."""

    def __init__(self, logits: Any, loc: Any, **scale: Any) -> None:
        self.weights, self.loc = special.softmax(logits), loc
        if "scale" in scale:
            self.covariance = [np.diag(row**2) for row in scale["scale"]]
        else:
            self.covariance = [row @ row.T for row in scale["scale_tril"]]

    def logpdf(self, x: Any) -> Any:
        components = zip(self.loc, self.covariance, strict=True)
        each = [stats.multivariate_normal(m, c).logpdf(x) for m, c in components]
        return special.logsumexp(np.stack(each, -1), axis=-1, b=self.weights)

    def along(self, w: Any) -> Any:
        spread = np.sqrt([w @ covariance @ w for covariance in self.covariance])
        return Projected(self.weights, stats.norm(self.loc @ w, spread))


class Projected:
    def __init__(self, weights: Any, components: Any) -> None:
        self.weights, self.components = weights, components

    def cdf(self, x: Any) -> Any:
        return self.components.cdf(np.asarray(x)[..., np.newaxis]) @ self.weights


def _mixture(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    joint = MixtureOfGaussians(**named)
    return joint, joint.along


class Sphere:
    """A density of m.x on the sphere in three dimensions, with its laws along other vectors."""

    def __init__(self, direction: Any, density: Callable[[Any], Any]) -> None:
        self.direction, self.density = direction, density

    def logpdf(self, x: Any) -> Any:
        return np.log(self.density(x @ self.direction))

    def along(self, w: Any) -> Any:
        """The law of w.x, whose density is an integral over circles (Archimedes: dx = dt dphi)."""
        length = np.linalg.norm(w)
        cosine = w @ self.direction / length
        # 4,000 cells of t and 256 angles: the law is right to 1e-6, where 10,000 draws show 1e-2.
        edges = np.linspace(-1, 1, 4001)
        t, phi = (edges[1:] + edges[:-1])[:, np.newaxis] / 2, np.arange(256) * (2 * np.pi / 256)
        across = np.sqrt(1 - t**2) * np.sqrt(1 - cosine**2)
        mass = self.density(t * cosine + across * np.cos(phi)).mean(1) * 2 * np.pi * 2 / 4000
        total = np.append(0, np.cumsum(mass))

        class Law:
            def cdf(self, x: Any) -> Any:
                return np.interp(x / length, edges, total)

        return Law()


def _von_mises_fisher(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    mu, kappa = named["mean_direction"], float(named["concentration"])
    peak = np.exp(stats.vonmises_fisher(mu, kappa).logpdf(mu))
    sphere = Sphere(mu, lambda cosine: peak * np.exp(kappa * (cosine - 1)))
    return stats.vonmises_fisher(mu, kappa), sphere.along


def _power_spherical(named: Named) -> tuple[Any, Callable[[Any], Any]]:
    # (1 + m.x) / 2 is a Beta, and the rest of x uniform: De Cao and Aziz's definition.
    beta = stats.beta(1 + named["concentration"], 1)
    sphere = Sphere(named["mean_direction"], lambda c: beta.pdf((1 + c) / 2) / (4 * np.pi))
    return sphere, sphere.along


# One distribution for each last axis: the joint, and the law of a weighted sum.
MULTIVARIATE: dict[str, Callable[[Named], tuple[Any, Callable[[Any], Any]]]] = {
    "Dirichlet": _dirichlet,
    "LowRankNormal": _gaussian,
    "MixtureOfGaussians": _mixture,
    "MultivariateNormal": _gaussian,
    "MultivariateStudentT": _student,
    "PowerSpherical": _power_spherical,
    "VonMisesFisher": _von_mises_fisher,
}


def _colours(named: Named, levels: int = 4) -> tuple[Any, Any, Any]:
    """PixelCNN++'s equations as printed, for three channels in [-1, 1], in differences of CDFs."""
    values = np.linspace(-1, 1, levels)
    points = np.stack(np.meshgrid(values, values, values, indexing="ij"), -1).reshape(-1, 3)
    weights, loc = special.softmax(named["logits"]), 2 * named["loc"] - 1
    half, mass, mean = 1 / (levels - 1), np.zeros(len(points)), np.zeros(3)
    for k, (alpha, beta, gamma) in enumerate(named["coupling"]):
        scale = 2 * named["scale"][k]

        def moved(red: Any, green: Any, k: int = k, abc: Any = (alpha, beta, gamma)) -> Any:
            return loc[k] + np.stack([0 * red, abc[0] * red, abc[1] * red + abc[2] * green], -1)

        law = stats.logistic(moved(points[:, 0], points[:, 1]), scale)
        low = np.where(points == -1, -np.inf, points - half)
        high = np.where(points == 1, np.inf, points + half)
        mass += weights[k] * np.prod(law.cdf(high) - law.cdf(low), axis=-1)
        channels = np.zeros(3)
        for channel in range(3):
            centre = moved(channels[0], channels[1])[channel]
            clipped = _clipped_logistic_mean((centre + 1) / 2, scale[channel] / 2)
            channels[channel] = 2 * clipped - 1
        mean += weights[k] * (channels + 1) / 2
    return (points + 1) / 2, mass, mean


def _one_hot(named: Named) -> tuple[Any, Any, Any]:
    mass = special.softmax(named["logits"])
    return np.eye(len(mass)), mass, mass


# One distribution for each last axis, over few enough points: these, their probabilities, and
# the mean that the layer documents.
ENUMERABLE: dict[str, Callable[[Named], tuple[Any, Any, Any]]] = {
    "DiscretizedLogisticMixture": _colours,
    "OneHotCategorical": _one_hot,
}
