"""Semi-supervised MNIST: how well M2 classifies with few labels, beside its own classifier alone.

    python benchmarks/semi_supervised.py PATH/mnist.npz --labels 100 1000 --epochs 20

The labels are of images drawn at random, as many of each class; all other training images have
none. The labelled ones are in the data so often that a batch has a few of them: `Classification`
weighs each by how many there are, so that this makes gradients less noisy, and changes no mean. The
classifier alone is the network that M2 classifies with, trained on the labelled images for as many
steps. Prints the test error of both, the bound on log p(x), and times.

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
BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an .npz file with x_train, y_train, x_test and y_test")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--examples", type=int, help="train on the first ones only")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--labelled-rows", type=int, default=20_000)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--alpha", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    data = tfvae.data.load(arguments.data, binarize="dynamic", seed=arguments.seed)
    train = data.train if arguments.examples is None else data.train.take(arguments.examples)
    print("labels, error of the classifier alone, error of M2, ELBO, training s", flush=True)
    for count in arguments.labels:
        kept = chosen(train.y, count, arguments.seed)
        times = max(1, arguments.labelled_rows // count)
        x = np.concatenate([train.x, *[train.x[kept]] * times])
        y = np.concatenate([np.full(len(train), -1), *[train.y[kept]] * times])
        vae = model(train.shape, arguments)
        steps = arguments.epochs * -(-len(x) // BATCH)
        alone = keras.models.clone_model(vae.classifier)
        adam = optimizer(arguments.learning_rate, steps)
        alone.compile(adam, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        binary = train[kept]
        for epoch in range(steps * BATCH // count):
            # Drawn anew, as M2 sees them.
            drawn = Examples(binary.x, binary.y, binarize="dynamic", seed=epoch).values()
            order = np.random.default_rng(epoch).permutation(count)
            for rows in np.split(order, range(BATCH, count, BATCH)):
                alone.train_on_batch(drawn[rows], binary.y[rows])
        vae.compile(optimizer(arguments.learning_rate, steps))
        started = time.perf_counter()
        vae.fit(
            Examples(x, y, binarize="dynamic"),
            batch_size=BATCH, epochs=arguments.epochs, verbose=0,
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


def model(
    shape: tuple[int, ...], arguments: argparse.Namespace
) -> tfvae.families.SemiSupervisedVAE:
    """Return M2 of one hidden layer everywhere, with dropout in its classifier."""
    made = tfvae.zoo.semi_supervised_vae(
        shape, arguments.latent_dim, classes=CLASSES, alpha=arguments.alpha,
        hidden=(arguments.hidden,), seed=arguments.seed,
    )  # fmt: skip
    layers = keras.layers
    classifier = keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dropout(0.4 * arguments.dropout, seed=arguments.seed + 1),
            layers.Dense(arguments.hidden, "relu"),
            layers.Dropout(arguments.dropout, seed=arguments.seed + 2),
            layers.Dense(CLASSES),
        ]
    )
    slots = ("prior", "posterior", "likelihood", "objective")
    return tfvae.families.SemiSupervisedVAE(
        made.encoder,
        made.decoder,
        classifier,
        seed=arguments.seed,
        **{slot: getattr(made, slot) for slot in slots},
    )


def optimizer(rate: float, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))


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
