"""Variational autoencoders on Keras 3, from ``model.fit`` to a generator in production.

A model is four slots around two ordinary Keras networks: prior p(z), posterior q(z|x),
likelihood p(x|z), and the objective. Names are imported on first use, so ``import tfvae`` is
instant and imports no TensorFlow. The public names are listed in ``__init__.pyi``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
