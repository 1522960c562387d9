"""From a model and data to a picture: samples, latents, the course of training, and more.

`KINDS` lists them, `available` says which of them can be drawn of a model, and `draw` draws one.
Nothing here imports TensorFlow before a picture is drawn.
"""

from tfvae.pictures.kinds import KINDS as KINDS
from tfvae.pictures.kinds import Kind as Kind
from tfvae.pictures.kinds import available as available
from tfvae.pictures.kinds import draw as draw
from tfvae.pictures.subject import Subject as Subject
