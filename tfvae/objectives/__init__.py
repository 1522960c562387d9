"""Objectives: from a trace to a loss in nats. They add and scale.

An objective is a frozen dataclass: its fields are its configuration, and calling it on a
:class:`tfvae.Trace` gives the loss of each example, [B], or a scalar where the quantity belongs
to the whole batch. Losses are summed over the event; the model takes the mean over examples.

Example:
    >>> objective = ELBO(beta=4.0) + 0.5 * IWAE(samples=8)
    >>> objective.samples
    8
"""

from tfvae.objectives.base import Capability as Capability
from tfvae.objectives.base import Objective as Objective
from tfvae.objectives.base import WeightedSum as WeightedSum
from tfvae.objectives.base import check_choice as check_choice
from tfvae.objectives.base import check_samples as check_samples
from tfvae.objectives.classification import Classification as Classification
from tfvae.objectives.codes import CodeNorm as CodeNorm
from tfvae.objectives.codes import Contraction as Contraction
from tfvae.objectives.codes import KLSparsity as KLSparsity
from tfvae.objectives.codes import L1Code as L1Code
from tfvae.objectives.disentangling import DIP as DIP
from tfvae.objectives.disentangling import TotalCorrelation as TotalCorrelation
from tfvae.objectives.elbo import ELBO as ELBO
from tfvae.objectives.elbo import Capacity as Capacity
from tfvae.objectives.elbo import Reconstruction as Reconstruction
from tfvae.objectives.importance import CIWAE as CIWAE
from tfvae.objectives.importance import IWAE as IWAE
from tfvae.objectives.importance import MIWAE as MIWAE
from tfvae.objectives.importance import PIWAE as PIWAE
from tfvae.objectives.importance import Renyi as Renyi
from tfvae.objectives.mmd import MMD as MMD
from tfvae.objectives.quantization import CodebookLoss as CodebookLoss
from tfvae.objectives.quantization import Commitment as Commitment
from tfvae.objectives.schedules import Cyclical as Cyclical
from tfvae.objectives.schedules import LinearWarmup as LinearWarmup
from tfvae.objectives.schedules import Schedule as Schedule
from tfvae.objectives.score_function import VIMCO as VIMCO
from tfvae.objectives.score_function import ScoreFunction as ScoreFunction
