"""Every named model with a density, on MNIST: the bound on log p(x) of the test images, one table.

    python benchmarks/models.py PATH/mnist.npz --epochs 10 --out benchmarks/results/models.json

One budget for all: 60,000 images, binarised anew each epoch, so many epochs in batches of 100,
Adam with a cosine from 1e-3, tanh layers of 200-200 both ways and 50 latents where a model has
those, its other options as they are by default. Prints a row a model: the importance weighted
bound of 1,000 samples on the first test images, the ELBO and its KL, in nats. With --out a
benchmark that was stopped goes on where it was, and OUT's twin in Markdown is written. Speeds are
compared in training.py.

`cvae` is given the label, so its bound is on log p(x|label); `semi_supervised_vae` learns from all
labels, and is judged without.

Left out: models without a density (autoencoders among them), and those of targets, sentences and
counts. Those of grey values come last.

Figures: results/models.md, without `discretized_logistic_vae`, which takes much longer.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfvae
from tfvae.data import Examples

# Of targets, sentences and counts.
OTHER_DATA = {"supervised_vae", "sentence_vae", "count_vae"}
GREY = {"continuous_bernoulli_vae", "discretized_logistic_vae", "two_stage_vae"}
"""Models of the grey values themselves."""
NOTES = (
    "- \\* of grey values, and comparable with no other: densities, and of the discretised "
    "logistic the probability of 256 levels.",
    "- `cvae` bounds log p(x\\|label), all others log p(x).",
    "- `vrnn` and `deep_markov_model` read an image as 28 steps of a row, with 16 latents a step.",
    "- `annealed_vae` raises its capacity over 100,000 steps, of which this budget has few.",
    "- `beta_vae`, `beta_tcvae`, `dip_vae` and `annealed_vae` give nats away on purpose.",
    "- The standard errors are of images, which all models share: two models differ by more than "
    "chance at far less.",
)
NETWORKS: dict[str, Any] = {"hidden": (200, 200), "activation": "tanh"}
OPTIONS: dict[str, dict[str, Any]] = {
    "hierarchical_vae": {"latent_dim": (50, 25), "kl_warmup": (3000,)},
    "deep_markov_model": {"latent_dim": 16, "hidden": (100,), "activation": "tanh"},
    "vrnn": {"latent_dim": 16, "hidden": (100,), "activation": "tanh"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an .npz file with x_train, y_train, x_test and y_test")
    parser.add_argument("--models", nargs="+", choices=tfvae.zoo.models())
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    data = tfvae.data.load(arguments.data, binarize="dynamic", seed=arguments.seed)
    rows: dict[str, Any] = {}
    if arguments.out is not None and arguments.out.exists():
        rows = json.loads(arguments.out.read_text(encoding="utf-8"))
    for name in arguments.models or tfvae.zoo.models():
        if name in rows or name in OTHER_DATA:
            continue
        vae = built(name, data.train, arguments.seed)
        train, test = data.train, data.test.take(arguments.limit)
        if name in GREY:
            train, test = (dataclasses.replace(each, binarize="none") for each in (train, test))
        if not (vae.posterior.has_density and vae.prior.has_density):
            continue
        rows[name] = judged(vae, train, test, arguments)
        print(name, *(f"{key} {value}" for key, value in rows[name].items()), flush=True)
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
            arguments.out.with_suffix(".md").write_text(table(rows, arguments), encoding="utf-8")


def built(name: str, train: Any, seed: int) -> Any:
    """Return a model at the budget's sizes, its output beginning at the mean image."""
    model = tfvae.zoo.models()[name]
    options = {"latent_dim": 50, **NETWORKS, **OPTIONS.get(name, {}), "seed": seed}
    vae = model(
        train.shape, **{k: v for k, v in options.items() if k in tfvae.zoo.parameters(model)}
    )
    mean = np.clip(train.x.mean(axis=0), 1e-3, 1 - 1e-3).ravel()
    bias = vae.decoder.trainable_weights[-1]
    if bias.shape == mean.shape and name not in GREY:
        bias.assign(np.log(mean / (1 - mean)))
    return vae


def judged(vae: Any, train: Any, test: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a model and return its figures."""
    if not vae.conditional:
        train, test = without_labels(train), without_labels(test)
    elif vae.missing_label is not None:
        test = without_labels(test)  # to judge log p(x), as of the others
    steps = arguments.epochs * -(-len(train) // 100)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    vae.fit(train, batch_size=100, epochs=arguments.epochs, verbose=0)
    found = tfvae.evaluate.evaluate(vae, test, samples=arguments.samples, seed=arguments.seed)
    return {
        "log_marginal": round(found.log_marginal, 2),
        "error": round(found.log_marginal_error, 2),
        "elbo": round(found.elbo, 2),
        "kl": round(found.kl, 2),
    }


def without_labels(examples: Examples) -> Examples:
    return dataclasses.replace(examples, y=None)


def table(rows: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Return the rows in Markdown, the best bound first."""
    lines = [
        "# MNIST, dynamic binarisation: every named model with a density",
        "",
        f"`python benchmarks/models.py PATH/mnist.npz --epochs {arguments.epochs}`: one budget, "
        f"seed {arguments.seed}. In nats, on the first {arguments.limit:,} test images with "
        f"{arguments.samples:,} importance samples; the standard error is over images.",
        "",
        "| model | log_marginal | ELBO | KL |",
        "|---|---|---|---|",
    ]
    ranked = sorted(rows.items(), key=lambda pair: -pair[1]["log_marginal"])
    for name, row in sorted(ranked, key=lambda pair: pair[0] in GREY):
        star = "*" if name in GREY else ""
        bound = f"{row['log_marginal']:.2f} ± {row['error']:.2f}"
        lines.append(f"| `{name}`{star} | {bound} | {row['elbo']:.2f} | {row['kl']:.2f} |")
    return "\n".join([*lines, "", *NOTES]) + "\n"


if __name__ == "__main__":
    main()
