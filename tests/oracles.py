"""SciPy's twin of each distribution layer: named parameters in, a frozen distribution out."""

from __future__ import annotations

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


def _triangular(low: Any, high: Any, peak: Any) -> Any:
    return stats.triang((peak - low) / (high - low), low, high - low)


def _negative_binomial(total_count: Any, logits: Any) -> Any:
    return stats.nbinom(total_count, special.expit(-logits))


# One distribution for each value of an event.
UNIVARIATE: dict[str, Callable[..., Any]] = {
    "Bernoulli": lambda logits: stats.bernoulli(special.expit(logits)),
    "Beta": lambda concentration1, concentration0: stats.beta(a=concentration1, b=concentration0),
    "Cauchy": stats.cauchy,
    "Chi2": stats.chi2,
    "ContinuousBernoulli": ContinuousBernoulli,
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
    "Rayleigh": lambda scale: stats.rayleigh(scale=scale),
    "Reciprocal": lambda log_low, log_high: stats.loguniform(np.exp(log_low), np.exp(log_high)),
    "StandardNormal": lambda: stats.norm(np.zeros((2, 3)), np.ones((2, 3))),
    "StudentT": lambda loc, scale, df: stats.t(df, loc, scale),
    "Triangular": _triangular,
    "Uniform": lambda low, high: stats.uniform(low, high - low),
    "Weibull": lambda concentration, scale: stats.weibull_min(concentration, scale=scale),
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


# One distribution for each last axis: the joint, and the law of a weighted sum.
MULTIVARIATE: dict[str, Callable[[Named], tuple[Any, Callable[[Any], Any]]]] = {
    "Dirichlet": _dirichlet,
    "LowRankNormal": _gaussian,
    "MultivariateNormal": _gaussian,
    "MultivariateStudentT": _student,
}
