"""Pages to judge models by: a report of one run, several compared, and cards for exports.

Each page is one HTML file that needs no network. Names are imported on first use, for some of
them need TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
