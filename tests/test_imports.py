"""The direction of imports: a room sees the floors below it, never its own or those above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import ROOT

import tfvae

# From the ground up, as ARCHITECTURE.md draws it. Rooms inside a package (`layers`, `export`, ...)
# see each other; a room of its own package is a floor's neighbour only if it stands lower in this
# list.
FLOORS = [
    ["extras", "markup", "metrics", "shapes", "state_space", "text"],
    ["description", "drawing", "initialisers", "random", "sequences", "sources"],
    ["examples", "images", "layers", "plots", "probe_fits"],
    ["records", "priors", "trace", "networks", "adapters"],
    ["data", "objectives"],
    ["bayesian", "conditions", "corruptions"],
    ["checks", "feeds", "generation", "intake"],
    ["loop", "replicas"],
    ["step", "generator"],
    ["engine", "checkpoints"],
    ["training"],
    ["model"],
    ["families"],
    ["features"],
    ["export", "probes", "disentanglement"],
    ["evaluate", "expost", "gradients"],
    ["zoo", "charts", "pictures", "explorer"],
    ["files", "startup", "devices", "tf_config", "options", "optimizers", "progress"],
    ["run_config", "cluster", "tensorboard", "snapshots", "convert_sources"],
    ["recorder", "convert"],
    ["run_setup"],
    ["runs"],
    ["reporting"],
    ["quickstart", "trials"],
    ["sweep"],
    ["estimator_study", "latent_study"],
    ["commands"],
    ["cli"],
]  # fmt: skip
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# `vae.export(...)` and `vae.fit_prior(...)` are short for what stands above, and say so there;
# `load_model` loads models of any family.
UPWARD = {("model", "export"), ("model", "expost"), ("model", "families")}

PACKAGE = Path(tfvae.__file__).parent
EXPORT = Path(tfvae.export.__path__[0])


def files() -> Iterator[tuple[str, Path]]:
    for path in sorted({*PACKAGE.rglob("*.py"), *EXPORT.rglob("*.py")}):
        if path.is_relative_to(EXPORT):
            yield "export", path
        elif path.parent != PACKAGE:
            yield path.relative_to(PACKAGE).parts[0], path
        elif not path.stem.startswith("__"):
            yield path.stem, path


def imported(path: Path) -> Iterator[str]:
    """Yield the rooms of tfvae that a file uses: imports, and names of the lazy package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    rooms = {
        "VAE": "model", "Generated": "generation", "Generator": "generator", "Scores": "model",
        "load_model": "model", "Trace": "trace", "Latent": "trace",
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tfvae":
            yield from (rooms.get(alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tfvae."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("tfvae."))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "tfvae":
            yield rooms.get(node.attr, node.attr)


@pytest.mark.parametrize(("room", "path"), [pytest.param(r, p, id=p.stem) for r, p in files()])
def test_imports_go_down(room: str, path: Path) -> None:
    assert room in FLOOR, f"{path.name} has no floor: put it in FLOORS and in ARCHITECTURE.md"
    for other in set(imported(path)) - {room, "__version__"}:
        assert FLOOR[other] < FLOOR[room] or (room, other) in UPWARD, f"{room} imports {other}"


def test_nothing_imports_the_folder_export_by_its_own_name() -> None:
    # It would be a second module object, and register Keras classes twice.
    for _, path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            absolute = isinstance(node, ast.ImportFrom) and not node.level and node.module
            assert "export" not in [name.split(".")[0] for name in [*names, absolute or ""]], path


def test_the_architecture_page_knows_every_room() -> None:
    page = ROOT / "ARCHITECTURE.md"
    if not page.exists():
        pytest.skip("outside the checkout")
    text = page.read_text(encoding="utf-8")
    for _, path in files():
        if path.stem != "__init__":
            assert f"`{path.name}`" in text, path.name
