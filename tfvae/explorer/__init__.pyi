from .page import Page as Page
from .page import build as build
from .page import write as write
from .runtime import fetch as fetch
from .server import Server as Server
from .server import serve as serve
