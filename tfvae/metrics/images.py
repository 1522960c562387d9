"""How alike pictures are: squared error, peak signal-to-noise ratio, structural similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_RANKS = (3, 4)
_BATCH = 256


def mse(x: Any, y: Any) -> npt.NDArray[np.float64]:
    r"""Return the mean squared error of each example, over its values.

    .. math:: \frac1D \sum_{d=1}^D (x_d - y_d)^2

    Args:
        x: [N, *data].
        y: [N, *data].

    Returns:
        [N].

    Raises:
        ValueError: for arrays of different shapes, or values that are not finite.

    Example:
        >>> tfvae.metrics.mse([[0.0, 1.0]], [[0.0, 3.0]]).tolist()
        [2.0]
    """
    x, y = _pair(x, y)
    axes = tuple(range(1, x.ndim))
    error: npt.NDArray[np.float64] = np.mean((x - y) ** 2, axis=axes, dtype=np.float64)
    return error


def psnr(x: Any, y: Any, data_range: float = 1.0) -> npt.NDArray[np.float64]:
    r"""Return the peak signal-to-noise ratio of each example, in decibels.

    .. math:: 10 \log_{10} \frac{R^2}{\mathrm{MSE}(x, y)}

    Infinite where both are equal.

    Args:
        x: [N, *data].
        y: [N, *data].
        data_range: R, the difference between the greatest and the least value that there can be.

    Returns:
        [N].

    Raises:
        ValueError: as :func:`mse`, and for a range that is not positive.

    Example:
        >>> float(tfvae.metrics.psnr(np.zeros((1, 4)), np.full((1, 4), 0.1))[0])
        20.0...
    """
    _check_range(data_range)
    return decibels(mse(x, y), data_range)


def decibels(error: npt.NDArray[Any], data_range: float) -> npt.NDArray[np.float64]:
    """Return the peak signal-to-noise ratio of mean squared errors; infinite where there is none.

    Example:
        >>> decibels(np.array([0.01, 0.0]), 1.0).tolist()
        [20.0, inf]
    """
    with np.errstate(divide="ignore"):
        ratio: npt.NDArray[np.float64] = 10 * np.log10(data_range**2 / error)
    return ratio


def ssim(x: Any, y: Any, data_range: float = 1.0, *, sigma: float = 1.5) -> npt.NDArray[np.float64]:
    r"""Return the structural similarity of pictures, from -1 to 1, which is that of equal ones.

    .. math:: \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}
        {(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}, \qquad
        C_1 = (0.01 R)^2,\ C_2 = (0.03 R)^2

    with moments under a Gaussian window, of 11 by 11 pixels for a sigma of 1.5, as its authors
    have it; averaged over the places at which the window lies within the picture, and over the
    channels. In pictures smaller than that the window is cut to the largest that fits.

    Args:
        x: [N, height, width] or [N, height, width, channels].
        y: the same.
        data_range: R, the difference between the greatest and the least value that there can be.
        sigma: of the window, in pixels.

    Returns:
        [N].

    Raises:
        ValueError: for arrays that are no pictures or of different shapes, pictures of fewer than
            3 pixels on a side, and a range or a sigma that is not positive.

    Example:
        >>> x = np.linspace(0, 1, 256).reshape(1, 16, 16)
        >>> np.round(tfvae.metrics.ssim(x, x), 6).tolist()
        [1.0]

    References:
        Wang, Bovik, Sheikh and Simoncelli (2004), Image quality assessment: from error visibility
        to structural similarity.
    """
    _check_range(data_range)
    if not sigma > 0:
        raise ValueError(f"Expected `sigma` to be a positive number. Received: sigma={sigma!r}.")
    x, y = _pair(x, y)
    if x.ndim not in _RANKS:
        raise ValueError(
            "Expected `x` to be pictures [N, height, width] or [N, height, width, channels]. "
            f"Received: x of shape {x.shape}."
        )
    side = min(x.shape[1:3])
    if side < 3:
        raise ValueError(
            "Expected `x` to be pictures of at least 3 pixels on a side, over which to compare "
            f"structure. Received: x of shape {x.shape}. Use mse or psnr."
        )
    if x.ndim == 3:
        x, y = x[..., None], y[..., None]
    window = _window(sigma, side)
    parts = [
        _similarity(
            x[start : start + _BATCH].astype(np.float64),
            y[start : start + _BATCH].astype(np.float64),
            window,
            data_range,
        )
        for start in range(0, len(x), _BATCH)
    ]
    return np.concatenate(parts)


def _window(sigma: float, side: int) -> Array:
    """Return the Gaussian window along one axis, which sums to 1."""
    # As far as 3.5 sigma: 11 pixels for the authors' 1.5.
    radius = min(int(3.5 * sigma + 0.5), (side - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    window: Array = weights / weights.sum()
    return window


def _similarity(x: Array, y: Array, window: Array, data_range: float) -> npt.NDArray[np.float64]:
    mean_x, mean_y = _averaged(x, window), _averaged(y, window)
    var_x = _averaged(x * x, window) - mean_x**2
    var_y = _averaged(y * y, window) - mean_y**2
    covariance = _averaged(x * y, window) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    found: npt.NDArray[np.float64] = np.mean(top / bottom, axis=(1, 2, 3))
    return found


def _averaged(images: Array, window: Array) -> Array:
    """Average [N, H, W, C] under a window along both axes, where it lies within the picture."""
    for axis in (1, 2):
        kept = images.shape[axis] - len(window) + 1
        places = [slice(None)] * 4
        total: Any = 0.0
        for offset, weight in enumerate(window):
            places[axis] = slice(offset, offset + kept)
            total = total + weight * images[tuple(places)]
        images = total
    return images


def _pair(x: Any, y: Any) -> tuple[Array, Array]:
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.ndim < 2 or not x.size:
        raise ValueError(
            "Expected `x` and `y` of one shape [N, ...], with at least one example. Received: x of "
            f"shape {x.shape} and y of shape {y.shape}."
        )
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
            raise ValueError(
                f"Expected `{name}` to be finite numbers. Received: dtype {array.dtype}"
                + (", with NaN or infinity." if array.dtype.kind == "f" else ".")
            )
    # Differences of bytes would wrap around.
    return tuple(  # type: ignore[return-value]
        each if each.dtype.kind == "f" else each.astype(np.float64) for each in (x, y)
    )


def _check_range(data_range: float) -> None:
    if not (np.isfinite(data_range) and data_range > 0):
        raise ValueError(
            f"Expected `data_range` to be a positive number. Received: data_range={data_range!r}."
        )
