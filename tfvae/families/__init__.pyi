from .semi_supervised import SemiSupervisedVAE as SemiSupervisedVAE
from .supervised import SupervisedVAE as SupervisedVAE
