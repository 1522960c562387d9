"""Disentanglement: how far each latent follows one factor of variation, and each factor one latent.

All scores need the ground-truth factors that the data were made of. Functions take codes [N, D] and
factors [N, K]; `evaluate` takes a model.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
