"""Pages to judge models by: a report of one run, several compared, and cards for exports.

Each page is one HTML file that needs no network. Nothing here imports TensorFlow before a model
is loaded.
"""

from tfvae.reporting.blocks import Section as Section
from tfvae.reporting.cards import card as card
from tfvae.reporting.comparison import Comparison as Comparison
from tfvae.reporting.comparison import Judged as Judged
from tfvae.reporting.pages import compare as compare
from tfvae.reporting.pages import report as report
