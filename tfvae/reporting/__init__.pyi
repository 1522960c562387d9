from .cards import card as card
from .comparison import Comparison as Comparison
from .comparison import Judged as Judged
from .pages import compare as compare
from .pages import report as report
