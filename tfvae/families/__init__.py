"""Model families: models with a pass of their own, each one class that yields a Trace."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
