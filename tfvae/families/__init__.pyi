from .hierarchical import HierarchicalVAE as HierarchicalVAE
from .ladder import ladder_encoder as ladder_encoder
from .semi_supervised import SemiSupervisedVAE as SemiSupervisedVAE
from .supervised import SupervisedVAE as SupervisedVAE
