"""The export stage: a trained VAE leaves as a verified, seedable generator.

``export(vae, path)`` writes a SavedModel and ONNX files beside the model folder's versions, has two
fresh processes that know nothing of tfvae run them against outputs recorded from Keras, and only
then renames the folder into place. ``load`` runs an export, from ONNX without importing
TensorFlow; ``verify`` repeats the check at any later time from the files alone.

Names are imported on first use: ``import tfvae.export`` imports no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
