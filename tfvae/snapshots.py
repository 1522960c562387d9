"""Pictures while training: samples and reconstructions as they develop, and an animation."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfvae import drawing, extras, pictures
from tfvae.model import VAE
from tfvae.step import check_count

__all__ = ["SEEN", "Snapshots"]

SEEN = 36
"""Examples that are reconstructed, at most."""

_KINDS = ("samples", "reconstructions")
_FRAME, _LAST = 250, 2000  # milliseconds
_PIXELS = 200_000_000  # of all pages of an animation, each of a byte or, of no .gif, of three


class Snapshots(keras.callbacks.Callback):
    """A callback that saves pictures of the model while it is trained.

    ``FOLDER/samples-0005.png`` is of the end of epoch 5, and ``samples-0000.png`` of before the
    first; of the same seeds and examples each time, so that one sees them develop. At the end
    ``samples.gif`` shows them one after the other. Training from the first step on replaces the
    pictures of these kinds that the folder holds; a training that is resumed goes on with them.

    Steps of training stay in compiled chunks: it hears of epochs only.

    Args:
        folder: where the pictures go.
        examples: of which some are reconstructed: an array [N, *data], Examples, or a pair (x, y)
            of a conditional model.
        kinds: which of `tfvae.pictures.KINDS`, at least one; by default those of samples and
            reconstructions that the model and the examples have.
        every: epochs between pictures; the last epoch always has them.
        seed: of everything random in them.
        animate: whether to write the animation.
        **options: of the pictures, if there is one kind of them.

    Raises:
        ValueError: for `every` below 1, an unknown kind or option, or no kind at all; and, when
            training starts, for kinds that cannot be drawn of the model.
        TypeError: when training starts, for a model that is no VAE.

    Example:
        >>> callback = Snapshots("pictures", x[:36], every=5)  # doctest: +SKIP
        >>> history = vae.fit(x, epochs=50, callbacks=[callback])  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        examples: Any = None,
        *,
        kinds: Sequence[str] | None = None,
        every: int = 1,
        seed: int = 0,
        animate: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        extras.check(*extras.MATPLOTLIB)
        check_count("every", every)
        self.folder = Path(folder)
        self.examples = examples
        self.kinds = None if kinds is None else tuple(kinds)
        if self.kinds == ():
            raise ValueError(
                f"Expected `kinds` to be some of {', '.join(pictures.KINDS)}, or None for the "
                "default. Received: none of them."
            )
        for kind in self.kinds or ():
            pictures.kinds.check_options(pictures.kinds.find(kind), options)
        if options and len(self.kinds or ()) != 1:
            raise ValueError(
                f"Expected options with one of `kinds`, whose they are. Received: "
                f"{', '.join(options)} with kinds={kinds!r}."
            )
        self.every = every
        self.seed = seed
        self.animate = animate
        self.options = options
        self._shown: tuple[str, ...] = ()
        self._epoch = self._drawn = -1
        self._warned = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check what can be drawn, and draw the model as it is before the first step."""
        if not isinstance(self.model, VAE):
            raise TypeError(f"Expected a tfvae.VAE. Received: {type(self.model).__name__}.")
        found = pictures.available(self.model, self.examples)
        wanted = _KINDS if self.kinds is None else self.kinds
        for kind in wanted if self.kinds is not None else ():
            # An option may be what makes it possible.
            subject = pictures.Subject.of(self.model, self.examples)
            if reason := pictures.KINDS[kind].obstacle(subject, self.options):
                raise ValueError(f"Could not draw {kind!r}: {reason}.")
        self._shown = tuple(kind for kind in wanted if self.kinds is not None or not found[kind])
        if not self._shown:
            raise ValueError(f"Could not draw {wanted[0]!r}: {found[wanted[0]]}.")
        self._epoch = self._drawn = -1
        if int(self.model.step) == 0:
            self._clear()
            self._draw()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draw, if it is the turn of this epoch."""
        self._epoch = epoch
        if (epoch + 1) % self.every == 0:
            self._draw()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Draw the last epoch, and write the animations."""
        if self._drawn < self._epoch:
            self._draw()
        for kind in self._shown if self.animate else ():
            frames = self._frames(kind)
            if len(frames) > 1:
                try:
                    animation(frames, self.folder / f"{kind}.gif")
                # No reason to lose what was trained.
                except (ValueError, OSError, MemoryError) as error:
                    warnings.warn(f"There is no animation of {kind}: {error}", stacklevel=2)

    def _draw(self) -> None:
        for kind in self._shown:
            path = self.folder / f"{kind}-{self._epoch + 1:04d}.png"
            try:
                pictures.draw(
                    kind, self.model, self.examples, seed=self.seed, path=path, **self.options
                )
            except (ValueError, FloatingPointError, OSError, MemoryError) as error:
                # A picture is no reason to stop training.
                if not self._warned:
                    warnings.warn(f"Could not draw {kind} of this epoch: {error}", stacklevel=2)
                self._warned = True
        self._drawn = self._epoch

    def _clear(self) -> None:
        """Remove what an earlier training left, which would be shown as a part of this."""
        for kind in self._shown:
            for path in (*self._frames(kind), self.folder / f"{kind}.gif"):
                path.unlink(missing_ok=True)

    def _frames(self, kind: str) -> list[Path]:
        """Return the pictures that there are, those of a run before it was resumed among them."""
        named = re.compile(rf"{re.escape(kind)}-\d+\.png")
        found = [path for path in self.folder.glob(f"{kind}-*.png") if named.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.stem.rpartition("-")[2]))


def animation(frames: Sequence[Path], path: str | os.PathLike[str]) -> None:
    """Write pictures one after the other as an animation, the last of them for longer.

    Of very many or very large ones it shows some, evenly spaced, the first and last among them:
    they are all in memory when it is written.

    Args:
        frames: files of pictures.
        path: where the animation goes, a .gif or .webp.

    Raises:
        OSError: if a picture cannot be read, or the animation not written.
    """
    from PIL import Image

    # Pictures whose lines differ in width differ in size.
    width = height = 0
    for frame in frames:
        with Image.open(frame) as picture:
            width, height = max(width, picture.width), max(height, picture.height)

    def page(frame: Path) -> Image.Image:
        sheet = Image.new("RGB", (width, height), "white")
        with Image.open(frame) as picture:
            sheet.paste(picture.convert("RGB"))
        return sheet.quantize(64) if Path(path).suffix.lower() == ".gif" else sheet

    most = max(2, _PIXELS // (width * height))
    first, *rest = (page(frame) for frame in _spaced(frames, most))
    durations = [_FRAME] * len(rest) + [_LAST]
    drawing.write(
        path,
        lambda beside: first.save(
            beside, save_all=True, append_images=rest, duration=durations, loop=0
        ),
    )


def _spaced(frames: Sequence[Path], most: int) -> list[Path]:
    """Return so many of the frames at most, evenly spaced from the first to the last."""
    if len(frames) <= most:
        return list(frames)
    step = (len(frames) - 1) / (most - 1)
    return [frames[round(place * step)] for place in range(most)]
