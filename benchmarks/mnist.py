"""Train on MNIST with dynamic binarisation and report the test log p(x).

    python benchmarks/mnist.py PATH/mnist.npz --epochs 30

The model of Burda et al. (2016), one stochastic layer: tanh 200-200 both ways, 50 latents, Adam,
batches of 100. As there, the output biases start at the logits of the mean image (--plain leaves
them at zero, which costs 1.4 nats at 30 epochs). The learning rate falls from 1e-3 to 0 along a
cosine. Prints the importance weighted bound (1,000 samples) on the first 2,000 test images, with
the time it took.

Figures: results/mnist.md.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np

import tfvae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an .npz file with x_train and x_test")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="output biases start at zero")
    arguments = parser.parse_args()
    data = tfvae.data.load(arguments.data, binarize="dynamic", seed=arguments.seed)
    vae = tfvae.zoo.vae(
        data.train.shape, 50, hidden=(200, 200), activation="tanh", seed=arguments.seed
    )
    if not arguments.plain:
        mean = np.clip(data.train.x.mean(axis=0), 1e-3, 1 - 1e-3).ravel()
        vae.decoder.trainable_weights[-1].assign(np.log(mean / (1 - mean)))
    steps = arguments.epochs * -(-len(data.train) // arguments.batch_size)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    started = time.perf_counter()
    vae.fit(data.train, batch_size=arguments.batch_size, epochs=arguments.epochs, verbose=2)
    trained = time.perf_counter()
    result = tfvae.evaluate.evaluate(
        vae, data.test.take(arguments.limit), samples=arguments.samples, seed=arguments.seed
    )
    rate = arguments.epochs * len(data.train) / (trained - started)
    print(f"training {trained - started:.0f} s ({rate:,.0f} examples/s, compilation included)")
    print(f"evaluation {time.perf_counter() - trained:.0f} s")
    for name, value in result._asdict().items():
        print(f"{name:>20} {value:.4f}" if isinstance(value, float) else f"{name:>20} {value}")


if __name__ == "__main__":
    main()
