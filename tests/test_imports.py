"""The direction of imports: rooms see the floors below them, never those above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

# From the ground up; rooms on one floor do not see each other unless listed in order here.
FLOORS = [
    {"random", "support", "files", "sources"},
    {"data", "base"},
    {"layers", "trace", "plots"},
    {"priors", "objectives", "networks"},
    {"checks", "feeds"},
    {"training"},
    {"model"},
    {"evaluate", "export"},
    {"zoo"},
    {"options", "progress", "runs"},
    {"quickstart", "startup"},
    {"cli"},
]
