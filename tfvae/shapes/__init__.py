"""Shapes: images made on the fly, each a function of factors that are known.

One shape on black: a square, ellipse, heart or triangle of some size, turned, placed and coloured.
What a code of such images should find is known, so that disentanglement can be measured.
"""

from tfvae.shapes.naming import NAME, Request, is_name, parse
from tfvae.shapes.outlines import SHAPES
from tfvae.shapes.rendering import FACTORS, Shapes

__all__ = ["FACTORS", "NAME", "SHAPES", "Request", "Shapes", "is_name", "parse"]
