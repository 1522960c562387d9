"""Priors p(z): distribution layers that take no parameters from the encoder."""

from tfvae.priors.base import Prior as Prior
from tfvae.priors.base import StandardNormal as StandardNormal
from tfvae.priors.codebook import Codebook as Codebook
from tfvae.priors.conditional import Conditional as Conditional
from tfvae.priors.mixtures import MixtureOfGaussians as MixtureOfGaussians
from tfvae.priors.mixtures import VampPrior as VampPrior
from tfvae.priors.parametric import Parametric as Parametric
from tfvae.priors.second_stage import SecondStage as SecondStage
from tfvae.priors.sphere import HypersphericalUniform as HypersphericalUniform
from tfvae.priors.uniform import Uniform as Uniform
