"""One slot at a time on MNIST: what a bound, a prior and a posterior are worth in nats.

    python benchmarks/slots.py PATH/mnist.npz --epochs 20

The model of `mnist.py` (tanh 200-200 both ways, 50 latents, Adam, batches of 100, cosine from
1e-3, output biases at the mean image, dynamic binarisation) with one slot changed, the same number
of optimizer steps for all. Prints the importance weighted bound on the first test images, and its
difference from the plain VAE's with the standard error of the difference, image by image.

Figures: results/slots.md.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np

import tfvae

MODELS = {
    "vae": {},
    "iwae": {"samples": 5},
    "full_covariance_vae": {},
    "iaf_vae": {"steps": 2, "width": 200, "context": 50},
    "vamp_vae": {"components": 500},
    "hierarchical_vae": {"latent_dim": (50, 25), "between": (100,), "kl_warmup": (3000,)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="an .npz file with x_train and x_test")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = tfvae.data.load(arguments.data, binarize="dynamic", seed=arguments.seed)
    mean = np.clip(data.train.x.mean(axis=0), 1e-3, 1 - 1e-3).ravel()
    steps = arguments.epochs * -(-len(data.train) // 100)
    test, plain = data.test.take(arguments.limit), None
    print("model, log p(x), s.e., difference, s.e., ELBO, KL, training s, evaluation s", flush=True)
    for name in arguments.models:
        slots = {"latent_dim": 50, "hidden": (200, 200), "activation": "tanh"} | MODELS[name]
        vae = tfvae.zoo.models()[name](data.train.shape, seed=arguments.seed, **slots)
        vae.decoder.trainable_weights[-1].assign(np.log(mean / (1 - mean)))
        if name == "vamp_vae":
            vae.prior.start_from(data.train.x)
        vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
        started = time.perf_counter()
        vae.fit(data.train, batch_size=100, epochs=arguments.epochs, verbose=0)
        trained = time.perf_counter()
        options = {"samples": arguments.samples, "seed": arguments.seed}
        bound = tfvae.evaluate.log_marginal(vae, test, **options)
        terms = tfvae.evaluate.evaluate(vae, test, samples=20, seed=arguments.seed)
        plain = bound if plain is None else plain
        columns = [(bound.mean(), bound.std()), ((bound - plain).mean(), (bound - plain).std())]
        figures = [f"{m:.2f}, {s / np.sqrt(len(bound)):.2f}" for m, s in columns]
        figures += [f"{terms.elbo:.2f}", f"{terms.kl:.2f}", f"{trained - started:.0f}"]
        print(", ".join([name, *figures, f"{time.perf_counter() - trained:.0f}"]), flush=True)


if __name__ == "__main__":
    main()
