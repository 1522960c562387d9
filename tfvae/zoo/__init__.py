"""Named models: each a short function that composes slots, with its paper.

A public function that is imported here is a model: ``tfvae models`` lists it and ``tfvae train
--model`` takes it, with options read from its signature. So that the command line can do so in no
time, nothing here imports TensorFlow: ``tfvae`` resolves names when a model is built.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tfvae
from tfvae.zoo.aggregate import rae as rae
from tfvae.zoo.aggregate import two_stage_vae as two_stage_vae
from tfvae.zoo.aggregate import wae_mmd as wae_mmd
from tfvae.zoo.autoencoders import autoencoder as autoencoder
from tfvae.zoo.autoencoders import contractive_autoencoder as contractive_autoencoder
from tfvae.zoo.autoencoders import denoising_autoencoder as denoising_autoencoder
from tfvae.zoo.autoencoders import sparse_autoencoder as sparse_autoencoder
from tfvae.zoo.base import NetworkOptions as NetworkOptions
from tfvae.zoo.base import Options as Options
from tfvae.zoo.base import vae as vae
from tfvae.zoo.bayesian import bayesian_vae as bayesian_vae
from tfvae.zoo.bounds import ciwae as ciwae
from tfvae.zoo.bounds import iwae as iwae
from tfvae.zoo.bounds import miwae as miwae
from tfvae.zoo.bounds import piwae as piwae
from tfvae.zoo.conditional import cvae as cvae
from tfvae.zoo.conditional import semi_supervised_vae as semi_supervised_vae
from tfvae.zoo.conditional import supervised_vae as supervised_vae
from tfvae.zoo.discrete import bernoulli_vae as bernoulli_vae
from tfvae.zoo.discrete import gumbel_softmax_vae as gumbel_softmax_vae
from tfvae.zoo.discrete import vq_vae as vq_vae
from tfvae.zoo.disentangling import annealed_vae as annealed_vae
from tfvae.zoo.disentangling import beta_tcvae as beta_tcvae
from tfvae.zoo.disentangling import beta_vae as beta_vae
from tfvae.zoo.disentangling import dip_vae as dip_vae
from tfvae.zoo.disentangling import info_vae as info_vae
from tfvae.zoo.flows import iaf_vae as iaf_vae
from tfvae.zoo.flows import planar_flow_vae as planar_flow_vae
from tfvae.zoo.flows import radial_flow_vae as radial_flow_vae
from tfvae.zoo.flows import spline_flow_vae as spline_flow_vae
from tfvae.zoo.hierarchical import hierarchical_vae as hierarchical_vae
from tfvae.zoo.likelihoods import continuous_bernoulli_vae as continuous_bernoulli_vae
from tfvae.zoo.likelihoods import count_vae as count_vae
from tfvae.zoo.likelihoods import discretized_logistic_vae as discretized_logistic_vae
from tfvae.zoo.posteriors import dirichlet_vae as dirichlet_vae
from tfvae.zoo.posteriors import full_covariance_vae as full_covariance_vae
from tfvae.zoo.posteriors import gamma_vae as gamma_vae
from tfvae.zoo.posteriors import hyperspherical_vae as hyperspherical_vae
from tfvae.zoo.posteriors import laplace_vae as laplace_vae
from tfvae.zoo.posteriors import logistic_vae as logistic_vae
from tfvae.zoo.priors import flow_prior_vae as flow_prior_vae
from tfvae.zoo.priors import mixture_prior_vae as mixture_prior_vae
from tfvae.zoo.priors import vamp_vae as vamp_vae
from tfvae.zoo.sentences import sentence_vae as sentence_vae
from tfvae.zoo.sequences import deep_markov_model as deep_markov_model
from tfvae.zoo.sequences import vrnn as vrnn

_ORDER = ("base", "disentangling", "bounds", "priors", "posteriors", "flows", "discrete")
"""Modules in the order in which their models are listed; others follow."""


def models() -> dict[str, Callable[..., tfvae.VAE]]:
    """Return every named model by its name, the plain VAE first, in the order they are written."""
    found = {
        name: value
        for name, value in globals().items()
        if inspect.isfunction(value)
        and value.__module__.startswith(__name__)
        and "data_shape" in inspect.signature(value).parameters
    }

    def place(name: str) -> tuple[int, str, int]:
        room = found[name].__module__.rpartition(".")[2]
        floor = _ORDER.index(room) if room in _ORDER else len(_ORDER)
        return floor, room, found[name].__code__.co_firstlineno

    return {name: found[name] for name in sorted(found, key=place)}


def parameters(model: Callable[..., tfvae.VAE]) -> dict[str, inspect.Parameter]:
    """Return a model's keyword arguments with those that it passes on to :func:`vae`."""
    own = inspect.signature(model).parameters
    rest = next((p for p in own.values() if p.kind is inspect.Parameter.VAR_KEYWORD), None)
    # Annotations are text here: a model that sets its likelihood takes the options without it.
    taken = NetworkOptions if "NetworkOptions" in str(rest and rest.annotation) else Options
    passed_on = {
        name: parameter
        for name, parameter in inspect.signature(vae).parameters.items()
        if name in taken.__annotations__ and name not in own
    }
    kept = {
        name: parameter
        for name, parameter in own.items()
        if name != "data_shape" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    return {**kept, **(passed_on if rest else {})}
