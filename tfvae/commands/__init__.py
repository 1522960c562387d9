"""The commands of ``tfvae``, each one or two calls of the library, for ``tfvae.cli`` to offer.

Nothing here imports TensorFlow, NumPy or rich before the arguments were checked, so that ``tfvae
--help`` and mistakes cost no time.
"""
