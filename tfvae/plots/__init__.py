"""Pictures of arrays: images, lines, latents. `tfvae.pictures` draws them of a model and its data.

Functions return a `matplotlib.figure.Figure` and, given a path, write it whole or not at all. They
need no TensorFlow, and import matplotlib when they are called.
"""

from tfvae.plots.bars import codebook as codebook
from tfvae.plots.bars import kl as kl
from tfvae.plots.curves import series as series
from tfvae.plots.curves import training as training
from tfvae.plots.forecast import forecast as forecast
from tfvae.plots.images import grid as grid
from tfvae.plots.images import reconstructions as reconstructions
from tfvae.plots.images import rows as rows
from tfvae.plots.images import save_grid as save_grid
from tfvae.plots.manifold import manifold as manifold
from tfvae.plots.scatter import scatter as scatter
from tfvae.plots.scatter import spaces as spaces
from tfvae.plots.text import sentences as sentences
