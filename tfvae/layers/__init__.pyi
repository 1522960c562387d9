from .base import DistributionLayer as DistributionLayer
from .base import get as get
from .bernoulli import Bernoulli as Bernoulli
from .bernoulli import ContinuousBernoulli as ContinuousBernoulli
from .normal import Normal as Normal
from .support import Support as Support
