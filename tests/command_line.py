"""Commands, run in this process and as users run them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner, Result

from tfvae.cli import cli

TINY = "--likelihood ContinuousBernoulli --latent-dim 2 --hidden 16 --epochs 2 --batch-size 256"


def invoke(line: str | Sequence[str]) -> Result:
    arguments = shlex.split(line) if isinstance(line, str) else list(line)
    return CliRunner().invoke(cli, arguments, prog_name="tfvae")


def process(
    line: str, folder: Path, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``tfvae`` as a user does."""
    result = subprocess.run(
        [sys.executable, "-m", "tfvae", *shlex.split(line)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stderr
    return result
