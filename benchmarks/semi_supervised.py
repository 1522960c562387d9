"""Semi-supervised MNIST: how well M2 classifies with few labels, beside its own classifier alone.

    python benchmarks/semi_supervised.py PATH/mnist.npz --labels 100 1000 --epochs 30

The labels are of images drawn at random, as many of each class; all other training images have
none. The classifier alone is the network that M2 classifies with, trained on the labelled images
for as many steps. Prints the test error of both, the bound on log p(x), and times.

Figures: results/semi_supervised.md.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np

import tfvae
from tfvae.data import Examples

CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an .npz file with x_train, y_train, x_test and y_test")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--examples", type=int, help="train on the first ones only")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500])
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--alpha", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = tfvae.data.load(arguments.data, binarize="dynamic", seed=arguments.seed)
    train = data.train if arguments.examples is None else data.train.take(arguments.examples)
    print("labels, error of the classifier alone, error of M2, ELBO, training s", flush=True)
    for count in arguments.labels:
        kept = chosen(train.y, count, arguments.seed)
        vae = tfvae.zoo.semi_supervised_vae(
            train.shape, arguments.latent_dim, classes=CLASSES, alpha=arguments.alpha,
            hidden=tuple(arguments.hidden), seed=arguments.seed,
        )  # fmt: skip
        steps = arguments.epochs * -(-len(train) // 100)
        alone = keras.models.clone_model(vae.classifier)
        alone.compile(schedule(steps), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        binary = train[kept]
        for epoch in range(steps // 100):
            # Drawn anew, as M2 sees them.
            drawn = Examples(binary.x, binary.y, binarize="dynamic", seed=epoch)
            alone.fit(drawn.values(), binary.y, batch_size=100, verbose=0)
        labels = np.full(len(train), -1)
        labels[kept] = train.y[kept]
        vae.compile(schedule(steps))
        started = time.perf_counter()
        vae.fit(
            Examples(train.x, labels, binarize="dynamic"),
            batch_size=100, epochs=arguments.epochs, verbose=0,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        test = data.test.values()
        errors = [
            np.mean(predicted.argmax(-1) != data.test.y)
            for predicted in (alone.predict(test, verbose=0), vae.classify(test))
        ]
        elbo = vae.evaluate(test, verbose=0, return_dict=True)["elbo"]
        figures = [f"{100 * error:.2f} %" for error in errors]
        print(", ".join([str(count), *figures, f"{elbo:.2f}", f"{seconds:.0f}"]), flush=True)


def schedule(steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps))


def chosen(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return as many random examples of each class."""
    random = np.random.default_rng(seed)
    each = [
        random.permutation(np.flatnonzero(y == label))[: count // CLASSES]
        for label in range(CLASSES)
    ]
    return np.concatenate(each)


if __name__ == "__main__":
    main()
