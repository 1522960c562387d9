"""The latent explorer: a page on which anyone moves sliders and sees an export decode.

The page runs the export's own ONNX files in the browser, through onnxruntime-web: it is static,
asks no server to compute, and draws for a seed what Python draws for it. ``write`` leaves it as a
folder that any web server can serve; ``serve`` serves it itself. Nothing here imports TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
