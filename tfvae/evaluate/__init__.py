"""Judging a trained model in numbers, one by one or all by :func:`measure`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
