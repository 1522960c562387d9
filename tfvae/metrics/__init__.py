"""Numbers about arrays: how alike pictures are, and how alike two sets of examples.

They need no model and no TensorFlow. What is measured of a model is in :mod:`tfvae.evaluate`.
"""

from tfvae.metrics.frechet import frechet_distance as frechet_distance
from tfvae.metrics.frechet import frechet_of_moments as frechet_of_moments
from tfvae.metrics.images import mse as mse
from tfvae.metrics.images import psnr as psnr
from tfvae.metrics.images import ssim as ssim
from tfvae.metrics.kernel import KernelDistance as KernelDistance
from tfvae.metrics.kernel import kernel_distance as kernel_distance
from tfvae.metrics.manifold import Manifolds as Manifolds
from tfvae.metrics.manifold import precision_recall as precision_recall
from tfvae.metrics.ranks import RankHistogram as RankHistogram
from tfvae.metrics.ranks import rank_histogram as rank_histogram
