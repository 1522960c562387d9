"""Text: words to tokens and back, files of sentences, and a grammar whose entropy is known.

Nothing here imports TensorFlow, for exports of sentences are also read where there is none.
"""

from tfvae.text import corpus as corpus
from tfvae.text.corpus import Corpus as Corpus
from tfvae.text.corpus import read as read
from tfvae.text.grammar import ENGLISH as ENGLISH
from tfvae.text.grammar import Grammar as Grammar
from tfvae.text.tokeniser import BOS as BOS
from tfvae.text.tokeniser import EOS as EOS
from tfvae.text.tokeniser import PAD as PAD
from tfvae.text.tokeniser import SPECIAL as SPECIAL
from tfvae.text.tokeniser import UNK as UNK
from tfvae.text.tokeniser import Tokeniser as Tokeniser
