"""Noise that is no bell: p(y|x) of two branches, by a network with latent variables and without.

    python benchmarks/bimodal.py --out benchmarks/results/bimodal.png

y = ±(0.2 + |x|³) + noise that widens with x. The same dense layers, with a Normal whose mean and
scale they emit, and with two latent variables in between. Prints the mean log-likelihood of
held-out targets, in nats, beside that of the truth, and draws what each makes of it.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from scipy import stats

import tfvae

HIDDEN = (64, 64)


def branches(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the branches are from 0, and the noise's scale."""
    return 0.2 + np.abs(x) ** 3, 0.05 + 0.1 * np.abs(x)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.uniform(-1, 1, (n, 1))
    distance, scale = branches(x)
    y = random.choice([-1, 1], (n, 1)) * distance + scale * random.normal(size=(n, 1))
    return x.astype("float32"), y.astype("float32")


def log_truth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    distance, scale = branches(x)
    each = [stats.norm(side * distance, scale).logpdf(y) for side in (-1, 1)]
    return np.logaddexp(*each)[:, 0] - np.log(2)


def bell(x: np.ndarray, y: np.ndarray, epochs: int) -> tuple[keras.Model, tfvae.layers.Normal]:
    """Return a network that emits mean and scale of a Normal, trained by maximum likelihood."""
    layer = tfvae.layers.Normal((1,))
    network = tfvae.networks.mlp_encoder(
        (1,), layer.params_shape, hidden=HIDDEN, activation="tanh", name="bell"
    )
    network.compile("adam", lambda y, params: -layer(params).log_prob(y))
    network.fit(x, y, epochs=epochs, batch_size=128, verbose=0)
    return network, layer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", default="bimodal.png")
    arguments = parser.parse_args()
    x, y = drawn(arguments.examples, 0)
    held_out = drawn(1000, 1)
    network, layer = bell(x, y, arguments.epochs)
    vae = tfvae.zoo.supervised_vae((1,), 2, hidden=HIDDEN)
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(x, y, epochs=arguments.epochs, batch_size=128, verbose=0)
    found = {
        "the truth": log_truth(*held_out),
        "a Normal": layer(network(held_out[0])).log_prob(held_out[1]).numpy(),
        "latent variables": tfvae.evaluate.log_marginal(
            vae, held_out[1], condition=held_out[0], samples=1000
        ),
    }
    for name, each in found.items():
        print(f"{name}: {each.mean():.3f} ± {each.std() / np.sqrt(len(each)):.3f} nats")
    params = layer(network(held_out[0]))
    samples = {
        "held-out data": held_out[1],
        f"a Normal: {found['a Normal'].mean():.2f} nats": params.sample(seed=0).numpy(),
        f"latent variables: {found['latent variables'].mean():.2f} nats": vae.generate(
            len(held_out[0]), condition=held_out[0]
        ).sample.numpy(),
    }
    picture(held_out[0], samples, arguments.out)


def picture(x: np.ndarray, samples: dict[str, np.ndarray], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(samples), figsize=(9, 3), sharex=True, sharey=True)
    for axis, (title, y) in zip(axes, samples.items(), strict=True):
        axis.plot(x, y, ".", color="black", markersize=2)
        axis.set(title=title, xlabel="x", ylim=(-1.8, 1.8))
        axis.title.set_fontsize(9)
    axes[0].set_ylabel("y")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
