from . import adapters as adapters
from . import data as data
from . import evaluate as evaluate
from . import export as export
from . import expost as expost
from . import layers as layers
from . import loop as loop
from . import networks as networks
from . import objectives as objectives
from . import plots as plots
from . import priors as priors
from . import random as random
from . import runs as runs
from . import trace as trace
from . import training as training
from . import zoo as zoo
from .generation import Generated as Generated
from .generator import Generator as Generator
from .model import VAE as VAE
from .model import Scores as Scores
from .model import load_model as load_model
from .trace import Latent as Latent
from .trace import Trace as Trace

__version__: str
