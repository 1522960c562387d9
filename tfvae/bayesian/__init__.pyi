from .conversion import draw as draw
from .conversion import mean as mean
from .conversion import to_bayesian as to_bayesian
from .layers import BayesianConv2D as BayesianConv2D
from .layers import BayesianConv2DTranspose as BayesianConv2DTranspose
from .layers import BayesianDense as BayesianDense
from .sampling import sampling as sampling
