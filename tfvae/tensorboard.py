"""TensorBoard: the course of training, what the model draws, and where examples lie.

Needs the extra ``tensorboard``: ``pip install 'tfvae[tensorboard]'``.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfvae import extras, features, files, plots
from tfvae.data import Examples
from tfvae.generation import check_request
from tfvae.model import VAE
from tfvae.step import check_count

__all__ = ["TensorBoard"]

_SPRITE = 8192  # pixels a side, the most that the projector takes


class TensorBoard(keras.callbacks.Callback):
    """A callback that writes what ``tensorboard --logdir LOG_DIR`` shows.

    - *Scalars*, each epoch, named as ``keras.callbacks.TensorBoard`` names them: ``epoch_elbo`` and
      the other terms, training and validation in one chart, and ``epoch_learning_rate``.
    - *Images*, of data that are images with values in [0, 1]: ``samples``, the means of p(x|z) of
      the same seeds each time, so that one sees them develop, and ``reconstructions``.
    - *Projector*: the means of q(z|x) of some examples, with their labels and pictures. It shows
      the last that were written; TensorBoard reads them once, when it starts.

    Steps of training stay in compiled chunks: unlike Keras's, it hears of epochs only.

    Args:
        log_dir: the folder to write to.
        samples: how many images in a grid; 0 for none.
        condition: for a conditional model, one for each of the samples; without, none are drawn.
        reconstruct: examples [N, *data], as arrays or Examples, of which the first `samples` are
            shown with their reconstructions.
        embedding: examples to embed: Examples, an array [N, *data], or a tuple of that and labels
            [N] or [N, columns].
        every: epochs between images and embeddings; the last epoch always has them.
        seed: of the samples.

    Raises:
        ImportError: if TensorBoard is not installed.
        ValueError: for numbers below 1 (`samples`: below 0); and, when training starts, for
            examples or conditions that do not fit the model.
        TypeError: when training starts, for a model that is no VAE.

    Example:
        >>> callback = TensorBoard("logs", embedding=(x, y), every=5)  # doctest: +SKIP
        >>> history = vae.fit(x, epochs=50, callbacks=[callback])  # doctest: +SKIP
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        samples: int = 16,
        condition: Any = None,
        reconstruct: Any = None,
        embedding: Any = None,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        extras.check("tensorboard", "which shows its logs", "'tfvae[tensorboard]'")
        check_count("every", every)
        if samples != 0:
            check_count("samples", samples)
        self.log_dir = Path(log_dir)
        self.samples = samples
        self.condition = condition
        self.reconstruct = None if reconstruct is None else _examples(reconstruct)
        self.embedding = None if embedding is None else _examples(embedding)
        self.every = every
        self.seed = seed
        self._writers: dict[str, Any] = {}
        self._epoch = self._shown = -1

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that model and examples fit, before the first step."""
        if not isinstance(self.model, VAE):
            raise TypeError(f"Expected a tfvae.VAE. Received: {type(self.model).__name__}.")
        shape = self.model.data_shape
        for name in ("reconstruct", "embedding"):
            examples = getattr(self, name)
            if examples is not None:
                self.model.check_condition(examples, f"TensorBoard(..., {name}=Examples(x, c))")
            if examples is not None and examples.shape != shape:
                raise ValueError(
                    f"Expected `{name}` of shape [n, {', '.join(map(str, shape))}]. "
                    f"Received: {name} of shape {examples.x.shape}."
                )
        if self.reconstruct is not None and not _is_image(shape):
            raise ValueError(
                "Expected images, [height, width] or [height, width, 1 or 3], to show the "
                f"reconstructions of. Received: data of shape {shape}. Leave out `reconstruct`."
            )
        if self.condition is not None:
            check_request(self.model, self.samples, 1.0, self.condition)
        self._writers = {}
        self._epoch = self._shown = -1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the scalars, and images and embedding if it is their turn."""
        self._epoch = epoch
        terms = {"train": {"learning_rate": self._learning_rate()}, "validation": {}}
        for name, value in (logs or {}).items():
            of = "validation" if name.startswith("val_") else "train"
            terms[of][name.removeprefix("val_")] = float(value)
        for of, values in terms.items():
            if values:
                with self._writer(of).as_default():
                    for name, value in values.items():
                        tf.summary.scalar(f"epoch_{name}", value, step=epoch)
        if (epoch + 1) % self.every == 0:
            self._show()
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write images and embedding of the last epoch, and close the files."""
        if self._shown < self._epoch:
            self._show()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, of: str) -> Any:
        if of not in self._writers:
            self._writers[of] = tf.summary.create_file_writer(str(self.log_dir / of))
        return self._writers[of]

    def _learning_rate(self) -> float:
        optimizer = self.model.optimizer
        # A loss scale wraps the optimizer.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))

    def _show(self) -> None:
        model = self.model
        grids = {}
        if self.samples and _is_image(model.data_shape):
            if self.condition is not None or not model.conditional:
                drawn = model.generate(self.samples, seed=self.seed, condition=self.condition)
                grids["samples"] = plots.grid(_finite(drawn.mean))
            if self.reconstruct is not None:
                x = self.reconstruct.values()[: self.samples]
                mean = _finite(model.reconstruct(x, _conditions(model, self.reconstruct[: len(x)])))
                grids["reconstructions"] = plots.reconstructions(x, mean)
        with self._writer("train").as_default():
            for name, figure in grids.items():
                pixels = np.asarray(figure.axes[0].images[0].get_array())
                tf.summary.image(name, _bytes(pixels)[None], step=self._epoch)
        if self.embedding is not None:
            _project(model, self.embedding, self.log_dir / "train")
        self._shown = self._epoch


def _conditions(model: VAE, examples: Examples) -> Any:
    """Return what a conditional model is given beside examples; None for any other."""
    return examples.y if model.reads_y else None


def _project(model: VAE, examples: Examples, folder: Path) -> None:
    """Write the means of q(z|x), labels and pictures where the projector finds them."""
    from google.protobuf import text_format
    from tensorboard.plugins import projector

    values = examples.values()
    z = features.means(model, values, _conditions(model, examples))
    config = projector.ProjectorConfig()
    latents = config.embeddings.add()
    latents.tensor_name = "latents"
    latents.tensor_path = "latents.tsv"
    # Nine digits give a float32 back.
    rows = "".join("\t".join(f"{value:.9g}" for value in row) + "\n" for row in z)
    files.replace_text(folder / latents.tensor_path, rows)
    if examples.y is not None:
        latents.metadata_path = "labels.tsv"
        files.replace_text(folder / latents.metadata_path, _labels(examples.y))
    if _is_image(examples.shape):
        sprite = _sprite(values)
        if max(sprite.shape) <= _SPRITE:
            from PIL import Image

            latents.sprite.image_path = "images.png"
            latents.sprite.single_image_dim.extend([examples.shape[1], examples.shape[0]])
            files.replace(folder / "images.png", Image.fromarray(sprite).save)
    # Last, so that it names nothing that is not there.
    files.replace_text(folder / "projector_config.pbtxt", text_format.MessageToString(config))


def _labels(y: np.ndarray[Any, Any]) -> str:
    """Write labels [N] or [N, columns] as the projector reads them: a header only of several."""
    table = y.reshape(len(y), -1)
    rows = [[" ".join(str(value).split()) for value in row] for row in table]
    if table.shape[1] > 1:
        rows.insert(0, [f"y{i}" for i in range(table.shape[1])])
    return "".join("\t".join(row) + "\n" for row in rows)


def _sprite(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Lay images [N, H, W] or [N, H, W, C] side by side, in reading order, without gaps."""
    count, height, width, *_ = images.shape
    pixels = _bytes(images.reshape(count, height, width, -1))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = np.pad(pixels, ((0, rows * columns - count), (0, 0), (0, 0), (0, 0)))
    tiles = padded.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    laid = tiles.reshape(rows * height, columns * width, -1)
    return np.broadcast_to(laid, (*laid.shape[:2], 3))


def _examples(given: Any) -> Examples:
    if isinstance(given, Examples):
        return given
    x, y = given if isinstance(given, tuple) else (given, None)
    return Examples(np.asarray(x, np.float32), None if y is None else np.asarray(y))


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))


def _finite(images: tf.Tensor) -> np.ndarray[Any, Any]:
    # A picture is no reason to stop training: that a mean overflows is the model's affair.
    finite: np.ndarray[Any, Any] = np.nan_to_num(np.asarray(images))
    return finite


def _bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rounded: np.ndarray[Any, Any] = 255 * np.clip(values, 0, 1) + 0.5
    return rounded.astype(np.uint8)
