"""Priors p(z): distribution layers that take no parameters from the encoder."""

from tfvae.priors.base import Prior as Prior
from tfvae.priors.base import StandardNormal as StandardNormal
from tfvae.priors.parametric import Parametric as Parametric
