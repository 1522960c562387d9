"""Sharded records: every example once, in an order that follows from seeds; damage is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image, ImageOps

from tfvae import images
from tfvae.cli import cli
from tfvae.convert import convert
from tfvae.data import DataError, load
from tfvae.records import Records, reader, shards, writer
from tfvae.records.wire import Wire, varint_bytes


def numbered(n: int, shape: tuple[int, ...] = (3, 2)) -> Any:
    """Examples of which each holds its own number, so that losses and doubles show."""
    return np.broadcast_to(
        np.arange(n, dtype=np.int32).reshape(-1, *(1,) * len(shape)), (n, *shape)
    )


def numbers(dataset: Any) -> list[int]:
    return [int(x.flat[0]) for batch in dataset.as_numpy_iterator() for x in batch[0]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 10 records of `numbered`, so that little data has many."""
    monkeypatch.setattr(shards, "BLOCK_BYTES", 240)


@pytest.fixture
def folder(tmp_path: Path, small_blocks: None) -> Callable[..., Path]:
    """Convert `numbered` examples, labelled with their numbers, and a test set of 4."""

    def make(n: int, **options: Any) -> Path:
        x, y = numbered(n + 4), np.arange(n + 4)
        np.savez(tmp_path / "n.npz", x_train=x[:n], y_train=y[:n], x_test=x[n:], y_test=y[n:])
        return convert(tmp_path / "n.npz", tmp_path / "out", overwrite=True, **options).path

    return make


def opened(path: Path, pool: int = 10**6, **options: Any) -> Records:
    """Open the training set with pools of so many records (of 24 bytes, 88 with their overhead)."""
    return Records.open(path, scale=1, buffer_bytes=5 * 88 * pool, **options)


# --- the format ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
@pytest.mark.parametrize(
    "y",
    [
        None,
        np.array([0, 5, 127, 128, 300_000], np.int64),
        np.array([[-1, 2]] * 5, np.int32),
        np.linspace(0, 1, 15, dtype=np.float32).reshape(5, 3),
    ],
    ids=["no labels", "classes", "negative pairs", "floats"],
)
def test_tensorflow_reads_what_we_write_and_the_other_way_round(
    tmp_path: Path, dtype: str, y: Any
) -> None:
    x = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(dtype)
    floats = y is not None and y.dtype.kind == "f"
    width = 1 if y is None or floats else varint_bytes(y)
    wire = Wire(
        (4, 3), x.dtype, () if y is None else y.shape[1:], None if y is None else y.dtype, width
    )
    with tf.io.TFRecordWriter(str(tmp_path / "x")) as writer:
        for message in wire.messages(x, y):
            writer.write(message.tobytes())
    features = {"x": tf.io.FixedLenFeature([], tf.string)}
    if y is not None:
        features["y"] = tf.io.FixedLenFeature(y.shape[1:], tf.float32 if floats else tf.int64)
    serialised = list(tf.data.TFRecordDataset(str(tmp_path / "x")).as_numpy_iterator())
    theirs = tf.io.parse_example(serialised, features)
    np.testing.assert_array_equal(tf.io.decode_raw(theirs["x"], dtype), x.reshape(5, -1))
    assert y is None or (theirs["y"].numpy() == y).all()

    stored = np.fromfile(tmp_path / "x", np.uint8).reshape(5, wire.record_bytes)
    assert wire.are_whole(stored).all()
    ours = wire.decode(stored)
    for mine, given in zip(ours, (x,) if y is None else (x, y), strict=True):
        assert mine.dtype == given.dtype
        np.testing.assert_array_equal(mine, given)
    # TensorFlow's own checksums: any bit that flips is seen, in every field of the framing.
    for byte in (0, 8, 12, 30, wire.record_bytes - 1):
        flipped = stored.copy()
        flipped[2, byte] ^= 4
        assert wire.are_whole(flipped).tolist() == [True, True, False, True, True]


def test_a_folder_is_what_a_file_is(tmp_path: Path, small_blocks: None) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (300, 4, 4), np.uint8), rng.integers(0, 10, 300)
    np.savez(tmp_path / "f.npz", x_train=x[:250], y_train=y[:250], x_test=x[250:], y_test=y[250:])
    told: list[tuple[int, int]] = []
    converted = convert(
        tmp_path / "f.npz", tmp_path / "f", validation=0.2, seed=3, shards=3,
        progress=lambda *counts: told.append(counts),
    )  # fmt: skip
    assert told[-1] == (300, 300)
    assert sorted(path.name for path in converted.path.iterdir()) == [
        "dataset.json",
        "test-00000-of-00001.tfrecord",
        *(f"train-{i:05d}-of-00003.tfrecord" for i in range(3)),
        "validation-00000-of-00001.tfrecord",
    ]
    options: Any = {"binarize": "dynamic", "seed": 3}
    file, streamed = (
        load(tmp_path / "f.npz", validation=0.2, **options),
        load(tmp_path / "f", **options),
    )
    assert streamed.name == "f"
    assert file.validation is not None
    for part in ("test", "validation"):
        theirs, ours = getattr(file, part), getattr(streamed, part).examples()
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)
        np.testing.assert_array_equal(ours.values(), theirs.values())
    train: Any = streamed.train
    assert (len(train), train.shape, train.dtype, train.labelled) == (200, (4, 4), np.uint8, True)
    assert train.bounds == (0.0, 1.0)

    def pairs(x: Any, y: Any) -> list[tuple[bytes, int]]:
        return sorted((a.tobytes(), int(b)) for a, b in zip(x, y, strict=True))

    batch = next(iter(train.batches(200, epoch=0)))
    assert (batch[0].dtype, batch[1].dtype) == (tf.uint8, tf.int64)
    assert pairs(train.floats(batch[0]).numpy(), batch[1]) == pairs(file.train.x, file.train.y)
    np.testing.assert_array_equal(train.take(7).x, train.examples().x[:7])
    again = convert(tmp_path / "f.npz", tmp_path / "g", validation=0.2, seed=3, shards=3)
    for path in converted.path.iterdir():
        assert path.read_bytes() == (again.path / path.name).read_bytes(), path.name


def test_names_scales_and_fingerprints(tmp_path: Path) -> None:
    convert("digits", tmp_path / "d")
    np.testing.assert_array_equal(load(tmp_path / "d").test.examples().x, load("digits").test.x)
    x = np.arange(40, dtype=np.int32).reshape(20, 2)
    fingerprints = set()
    for change in (0, 1):
        x[7, 1] += change
        np.save(tmp_path / "i.npy", x)
        convert(tmp_path / "i.npy", tmp_path / "i", overwrite=True)
        fingerprints.add(load(tmp_path / "i", scale=2).fingerprint)
    assert len(fingerprints) == 2
    np.testing.assert_array_equal(load(tmp_path / "i", scale=2).test.examples().x * 2 % 1, 0)
    with pytest.raises(DataError, match=r"int32 from 0.* to 39.*; pass scale="):
        load(tmp_path / "i")
    with pytest.raises(DataError, match=r"values in \[0, 1\] for binarize='threshold'"):
        load(tmp_path / "i", scale=2, binarize="threshold")


def test_labels_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([3, -1, 3, 0, -1, 3, 7])
    np.savez(tmp_path / "n.npz", x_train=numbered(7), y_train=y, x_test=numbered(2))
    found = convert(tmp_path / "n.npz", tmp_path / "out", shards=3, validation=2).path
    parts = [Records.open(found, name, scale=1) for name in ("train", "validation")]
    for part in parts:
        assert part.label_counts == Counter(part.examples().y.tolist())
    assert sum((Counter(part.label_counts) for part in parts), Counter()) == Counter(y.tolist())
    assert Records.open(found, "test", scale=1).label_counts is None
    monkeypatch.setattr(writer, "LABELS", 3)  # more kinds than are counted
    many = convert(tmp_path / "n.npz", tmp_path / "many").path
    assert Records.open(many, scale=1).label_counts is None


def test_a_folder_of_text_has_its_words(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("a dog runs\na cat sleeps\na dog sleeps\n" * 4)
    source = load(tmp_path / "some.txt")
    converted = load(convert(tmp_path / "some.txt", tmp_path / "out").path)
    assert converted.vocabulary == source.vocabulary
    assert set(converted.vocabulary) >= {"dog", "sleeps"}


@pytest.mark.parametrize("values", [[False, True], [0.25, -3.0]])
def test_types_without_a_scale(tmp_path: Path, values: list[Any]) -> None:
    x = np.array([values] * 10)
    np.save(tmp_path / "x.npy", x)
    convert(tmp_path / "x.npy", tmp_path / "x")
    np.testing.assert_array_equal(load(tmp_path / "x").test.examples().x, x[:1].astype(float))


# --- the order -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "count", "batch", "pool"),
    [
        (1, 1, 4, 3),
        (37, 1, 5, 8),
        (40, 4, 10, 20),
        (101, 3, 7, 10**6),
        (64, 5, 64, 1),
        (59, 2, 1, 13),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_example_exactly_once(
    folder: Callable[..., Path], n: int, count: int, batch: int, pool: int, shuffle: bool
) -> None:
    train = opened(folder(n, shards=count), pool)
    batches = list(train.batches(batch, epoch=2, shuffle=shuffle).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [batch] * (n // batch) + [n % batch] * (n % batch > 0)
    seen = np.concatenate([y for _, y in batches])
    assert sorted(seen.tolist()) == list(range(n))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), numbered(n)[seen])
    whole = train.examples()
    assert whole.y is not None
    assert sorted(whole.y.tolist()) == list(range(n))
    assert shuffle or whole.y.tolist() == seen.tolist()


@pytest.mark.parametrize("pool", [9, 10**6])
def test_the_order_follows_from_seed_and_epoch(folder: Callable[..., Path], pool: int) -> None:
    path = folder(95, shards=2)
    train = opened(path, pool, seed=5)
    order = numbers(train.batches(8, epoch=7))
    assert numbers(opened(path, pool, seed=5).batches(30, epoch=7)) == order  # of any batch size
    assert numbers(train.batches(8, epoch=8)) != order
    assert numbers(opened(path, pool, seed=6).batches(8, epoch=7)) != order
    tf.random.set_seed(1)  # global state has no say
    for skip in (3, 11, 40):
        dataset = train.batches(8, epoch=7, skip=skip)
        assert dataset.cardinality() == max(0, 12 - skip)
        assert numbers(dataset) == order[8 * skip :]
    stored = numbers(train.batches(8, epoch=7, shuffle=False))
    assert numbers(train.batches(8, epoch=0, shuffle=False, skip=5)) == stored[40:]


def test_what_is_skipped_is_not_read(
    folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = opened(folder(95), pool=10)
    read: list[int] = []
    real = reader.blocks.read
    monkeypatch.setattr(
        reader.blocks, "read", lambda *a: (read.append(int(a[-1][reader.COUNT])), real(*a))[1]
    )
    assert len(numbers(train.batches(5, epoch=0, skip=16))) == 15
    assert sum(read) == 15


def test_classes_are_mixed(tmp_path: Path, small_blocks: None) -> None:
    # 4,000 examples sorted by class, pools of 200, blocks of 10.
    np.save(tmp_path / "c.npy", np.repeat(numbered(2), 2250, axis=0))
    train = opened(convert(tmp_path / "c.npy", tmp_path / "c", shards=4).path, pool=200)
    counts = [
        int((x[:, 0, 0] == 0).sum()) for (x,) in train.batches(100, epoch=0).as_numpy_iterator()
    ]
    # About half of 100 of each, standard deviation 5: 41 counts beyond 6 of them, P < 41 · 2e-9.
    assert max(abs(count - 50) for count in counts[:-1]) < 30
    # Positions in two epochs are independent: correlation 0, standard deviation 1/√4050.
    places = []
    path = tmp_path / "p"
    np.save(tmp_path / "p.npy", numbered(4500))
    convert(tmp_path / "p.npy", path, shards=4)
    for epoch in (0, 1):
        places.append(np.argsort(numbers(opened(path, pool=200).batches(100, epoch=epoch))))
    kept = [np.argsort(np.argsort(place)) for place in places]
    assert abs(np.corrcoef(kept[0], kept[1])[0, 1]) < 6 / np.sqrt(4000)


@pytest.mark.parametrize("held_out", [1, 33, 94, 0.5])
def test_a_validation_set_can_be_held_out_of_a_folder(
    folder: Callable[..., Path], held_out: float
) -> None:
    path = folder(95, shards=2)
    data = load(path, validation=held_out, seed=1, scale=1)
    parts: list[Any] = [data.train, data.validation]
    count = held_out if held_out >= 1 else 48
    assert [len(part) for part in parts] == [95 - count, count]
    seen = [numbers(part.batches(16, epoch=0)) for part in parts]
    assert sorted(seen[0] + seen[1]) == list(range(95))
    again: Any = load(path, validation=held_out, seed=1, scale=1).validation
    assert sorted(numbers(again.batches(5, epoch=3))) == sorted(seen[1])
    with pytest.raises(DataError, match="1 to 94, with 95 examples"):
        load(path, validation=95, scale=1)


# --- damage ----------------------------------------------------------------------------------


@pytest.fixture
def damage(folder: Callable[..., Path]) -> tuple[Path, Path, int]:
    """A folder of 95 examples in two shards, the second of them, and the length of a record."""
    path = folder(95, shards=2)
    shard = path / "train-00001-of-00002.tfrecord"
    return path, shard, shard.stat().st_size // 47


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_a_damaged_record_is_named_where_it_is_met(damage: tuple[Path, Path, int]) -> None:
    path, shard, width = damage
    overwrite(shard, 23 * width + 40, b"\xff\xff")
    train = opened(path)  # sizes are right
    message = (
        rf"train-00001-of-00002.tfrecord: record 23, at byte {23 * width:,}, is damaged; .*skip"
    )
    with pytest.raises(DataError, match=message), train.reading():
        list(train.batches(8, epoch=0))
    with pytest.raises(DataError, match=message):
        train.examples()


@pytest.mark.parametrize(
    ("record", "byte", "length", "lost"),
    [
        (23, 40, 1, {23}),  # in the values
        (23, 0, 12, {23}),  # in the framing
        (23, 40, 30, {23, 24}),
        (0, 0, 1, {0}),
        (46, 40, 1, {46}),
        (20, 0, 10 * 63, set(range(20, 30))),  # a block
        (33, 5, None, set(range(33, 47))),  # truncated
    ],
)
def test_damage_is_left_out_by_option_and_counted(
    damage: tuple[Path, Path, int], record: int, byte: int, length: int | None, lost: set[int]
) -> None:
    path, shard, width = damage
    before: Any = opened(path).examples().y
    if length is None:
        with shard.open("r+b") as file:
            file.truncate(record * width + byte)
        with pytest.raises(DataError, match=r"train-00001-of-00002.tfrecord: it is truncated \("):
            opened(path)
    else:
        overwrite(shard, record * width + byte, b"\xff" * length)
    said = rf"Left out {len(lost)} damaged of 95 train examples.* {min(lost)} of .*00001-of-00002"
    with pytest.warns(UserWarning, match=said):
        train = opened(path, on_corrupt="skip")
    assert (len(train), train.skipped) == (95 - len(lost), len(lost))
    rest = [int(number) for row, number in enumerate(before) if row - 48 not in lost]
    assert sorted(numbers(train.batches(7, epoch=0))) == sorted(rest)
    whole: Any = train.examples().y
    assert whole.tolist() == rest


def test_files_that_change_or_go(damage: tuple[Path, Path, int]) -> None:
    path, shard, width = damage
    train = opened(path)
    with shard.open("r+b") as file:
        file.truncate(10 * width)  # under way, at a whole record
    with (
        pytest.raises(DataError, match=r"00001-of-00002.tfrecord: record \d+.* is damaged"),
        train.reading(),
    ):
        list(train.batches(8, epoch=0))
    shard.unlink()
    with pytest.raises(DataError, match=r"00001-of-00002.tfrecord: No such file"), train.reading():
        list(train.batches(8, epoch=0))
    with pytest.raises(DataError, match=r"2 shards in .* Missing: train-00001-of-00002.tfrecord"):
        opened(path, on_corrupt="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format 1. Received: format 2; update tfvae"),
        (lambda d: d.pop("format"), "it is damaged"),
        (lambda d: d.pop("shape"), "it is damaged"),
        (lambda d: d.update(dtype="uint9"), "it is damaged"),
        (lambda d: d["parts"].pop("test"), "it is damaged"),
        (lambda d: d["parts"]["train"]["shards"][0].update(file="../x"), "it is damaged"),
        (lambda d: d["parts"]["train"]["shards"][0].update(examples=3), "it is damaged"),
        (lambda d: d["parts"]["train"]["shards"][0]["checks"].pop(), "it is damaged"),
    ],
)
def test_a_bad_description_is_refused(
    folder: Callable[..., Path], change: Callable[[Any], object], message: str
) -> None:
    path = folder(20) / "dataset.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        load(path.parent, scale=1)
    path.write_text(path.read_text()[:50])
    with pytest.raises(DataError, match="it is damaged"):
        load(path.parent, scale=1)


def test_bad_arguments(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(20, validation=5)
    train = opened(path)
    for arguments in ({"batch_size": 0}, {"epoch": -1}, {"skip": 1.5}, {"batch_size": True}):
        with pytest.raises(
            DataError, match=f"Expected {next(iter(arguments))} to be a whole number"
        ):
            train.batches(**{"batch_size": 4, "epoch": 0} | arguments)
    with pytest.raises(DataError, match="one of train, validation, test"):
        Records.open(path, "valid", scale=1)
    with pytest.raises(DataError, match="'raise' or 'skip'"):
        load(path, on_corrupt="ignore")
    with pytest.raises(DataError, match="has a validation set of its own"):
        load(path, validation=3, scale=1)
    with pytest.raises(DataError, match="between 1 and the 15 examples"):
        train.take(16)
    with pytest.raises(DataError, match=r"dataset.json; convert it first"):
        Records.open(path.parent)
    monkeypatch.setattr(reader, "MEMORY_BYTES", 14 * 24)
    assert len(train.examples(14)) == 14
    with pytest.raises(DataError, match=r"fit into memory. Received: 15 .*limit"):
        train.examples()


# --- images ----------------------------------------------------------------------------------


def save(path: Path, size: tuple[int, int] = (12, 10), mode: str = "RGB", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    return path


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Twelve images of two classes, at two depths, in both formats."""
    for number in range(12):
        kind = ("cat", "dog")[number % 2]
        ending = (".png", ".JPG", ".jpeg")[number % 3]
        save(tmp_path / "pets" / kind / f"deep{number % 4}" / f"{number}{ending}", seed=number)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "pets" / ".hidden").mkdir()
    save(tmp_path / "pets" / ".hidden" / "x.png", (3, 3))
    return tmp_path / "pets"


def as_pillow_reads(gallery: Path, mode: str, size: tuple[int, int] | None = None) -> Any:
    """Values and class of every image."""
    found = set()
    for path in gallery.glob("[cd]*/*/*"):
        image = Image.open(path).convert(mode)
        image = ImageOps.fit(image, size) if size else image
        found.add((np.asarray(image).tobytes(), {"cat": 0, "dog": 1}[path.parts[-3]]))
    return found


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_converted_images_are_pillows(gallery: Path, mode: str) -> None:
    out = gallery.parent / "out"
    converted = convert(gallery, out, size=(6, 8), colour=mode == "RGB", validation=2)
    assert converted.layout.classes == ("cat", "dog")
    assert {name: len(part) for name, part in converted.layout.parts.items()} == {
        "train": 9, "validation": 2, "test": 1,
    }  # fmt: skip
    data: Any = load(out)
    assert data.train.shape == (6, 8, 3 if mode == "RGB" else 1)
    seen = [
        (x.tobytes(), int(y))
        for part in (data.train, data.validation, data.test)
        for batch in part.batches(4, epoch=0)
        for x, y in zip(*(each.numpy() for each in batch), strict=True)
    ]
    assert len(seen) == 12
    assert set(seen) == as_pillow_reads(gallery, mode, (8, 6))


def test_a_small_folder_is_read_whole(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data: Any = load(gallery, validation=3)
    assert (data.name, data.classes, data.train.shape) == ("pets", ("cat", "dog"), (10, 12, 3))
    seen = [
        (np.round(x * 255).astype(np.uint8).tobytes(), int(y))
        for part in (data.train, data.validation, data.test)
        for x, y in zip(part.x, part.y, strict=True)
    ]
    assert len(seen) == 12
    assert set(seen) == as_pillow_reads(gallery, "RGB")
    monkeypatch.setattr(images, "MEMORY_BYTES", 12 * 360 - 1)
    with pytest.raises(DataError, match="12 of 10x12x3; convert them to be streamed"):
        load(gallery)


def test_folders_of_parts(tmp_path: Path) -> None:
    for number, part in enumerate(["train"] * 3 + ["test"] * 2 + ["val"]):
        save(tmp_path / "g" / part / f"{number}.png", mode="L", seed=number)
    data: Any = load(tmp_path / "g")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [3, 1, 2]
    assert data.train.shape == (10, 12, 1)  # grey as they are
    assert data.train.y is None
    layout = convert(tmp_path / "g", tmp_path / "out").layout
    assert [len(layout.parts[name]) for name in ("train", "validation", "test")] == [3, 1, 2]
    with pytest.raises(DataError, match="a validation set of its own"):
        convert(tmp_path / "g", tmp_path / "o", validation=1)


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda p: shutil.rmtree(p) or p.mkdir(), {}, "without any"),
        (lambda p: save(p / "cat/x.png", (9, 9)), {}, "x.png of 9x9 and .*--size 9"),
        (lambda p: save(p / "x.png"), {}, "x.png beside folders such as cat"),
        (lambda p: (p / "cat/x.png").write_text("?"), {}, "x.png: it is damaged or no image"),
        (lambda p: (p / "cat/x.png").write_text("?"), {"size": 4, "colour": True}, "x.png: it is"),
        (
            lambda p: Image.fromarray(np.zeros((10, 12), np.uint16)).save(p / "cat/x.png"),
            {},
            "8 bits a channel. Received: .*x.png",
        ),
    ],
)
def test_bad_images(gallery: Path, spoil: Any, options: Any, message: str) -> None:
    spoil(gallery)
    out = gallery.parent / "out"
    with pytest.raises(DataError, match=message):
        convert(gallery, out, **options)
    assert not out.exists()
    if not options:
        with pytest.raises(DataError, match=message):
            load(gallery)


def test_truncated_images_are_left_out_by_option_and_counted(gallery: Path) -> None:
    whole = save(gallery / "dog" / "x.png", seed=99)
    whole.write_bytes(whole.read_bytes()[:300])  # its header is good
    with pytest.raises(DataError, match=r"x.png: it is damaged .*skip"):
        convert(gallery, gallery.parent / "out")
    converted = convert(gallery, gallery.parent / "out", on_corrupt="skip")
    assert [text for text in converted.left_out if "x.png" in text] == list(converted.left_out)
    assert len(converted.left_out) == 1
    assert sum(map(len, converted.layout.parts.values())) == 12
    with pytest.warns(UserWarning, match="Left out 1 damaged images: .*x.png"):
        data = load(gallery, on_corrupt="skip")
    assert len(data.train) + len(data.test) == 12


# --- writing ---------------------------------------------------------------------------------


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("digits", {"shards": 0}, "at least 1. Received: shards=0"),
        ("digits", {"shards": 2000}, "at most 1437"),
        ("digits", {"size": 8}, "no `size` for arrays"),
        ("digits", {"colour": True}, "no `colour` for arrays"),
        ("digits", {"validation": 1437}, "hold out fewer"),
        ("digits", {"seed": -1}, "seed=-1"),
        ("digits", {"dest": " "}, "name a folder"),
        ("digts", {}, "did you mean 'digits'"),
        ("pets", {"size": (0, 3)}, r"size=\(0, 3\)"),
        ("pets", {"dest": "pets/out"}, "apart from the source"),
        ("pets", {"dest": "."}, "apart from the source"),
        ("nan.npy", {}, "finite values in nan.*among the examples"),
        ("unknown.npz", {}, "finite values in unknown.*among the labels"),
        ("complex.npy", {}, "complex64"),
        ("deep.npy", {}, "one of the types uint8, .*Received: deep of uint64"),
        ("named.npz", {}, "labels of named to be numbers"),
    ],
)
def test_bad_conversions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, options: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "pets" / "a.png")
    save(tmp_path / "pets" / "b.png")
    x = np.zeros((20, 3), np.float32)
    np.savez("unknown.npz", x=x, y=np.full(20, np.nan, np.float32))
    np.savez("named.npz", x=x, y=np.array(["a", "b"] * 10))
    np.save("complex.npy", x.astype(np.complex64))
    np.save("deep.npy", x.astype(np.uint64))
    x[-1, -1] = np.nan
    np.save("nan.npy", x)
    before = left(tmp_path)
    with pytest.raises(DataError, match=message):
        convert(source, **{"dest": "out"} | options)
    assert left(tmp_path) == before


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "x").touch()
    with pytest.raises(NotADirectoryError, match="a file"):
        convert("digits", tmp_path / "file")
    with pytest.raises(FileExistsError, match="holds other files"):
        convert("digits", tmp_path / "foreign", overwrite=True)
    out = tmp_path / "deep" / "out"
    with monkeypatch.context() as patch:
        patch.setattr("tfvae.convert.shutil.disk_usage", lambda _: SimpleNamespace(free=9))
        with pytest.raises(OSError, match=r"MB of room .* Received: a disk with 0 MB free"):
            convert("digits", out)

    def full(*_: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, f"{out}/x; No space left on device")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    first = convert("digits", tmp_path / "kept").layout.fingerprint
    for target in (out, tmp_path / "kept"):
        with monkeypatch.context() as patch:
            patch.setattr(tf.io.TFRecordWriter, "write", full)
            with pytest.raises(
                OSError, match=r"Could not write .*No space left .* Nothing was left"
            ):
                convert("digits", target, overwrite=True, validation=9)
        with pytest.raises(KeyboardInterrupt):
            convert("digits", target, overwrite=True, validation=9, progress=stop)
    assert left(tmp_path) == ["file", "foreign", "kept"]
    assert load(tmp_path / "kept").fingerprint == first
    with pytest.raises(FileExistsError, match=r"holds a data set. .*--overwrite"):
        convert("digits", tmp_path / "kept")
    convert("digits", tmp_path / "kept", overwrite=True, validation=9)
    assert load(tmp_path / "kept").fingerprint != first
    assert left(tmp_path) == ["file", "foreign", "kept"]


def test_the_command(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gallery.parent)

    def run(line: str) -> Any:
        return CliRunner().invoke(cli, ["data", "convert", *line.split()], prog_name="tfvae")

    result = run("pets out --size 6x8 --grey --shards 2 --validation 2")
    assert result.exit_code == 0, result.output
    assert "9 train, 2 validation, 1 test examples of 6×8×1" in result.output.replace("\n", " ")
    (gallery / "cat" / "x.png").write_text("?")
    for line, code, message in (
        ("pets out", 1, "which holds a data set"),
        ("pets new --size 6x", 2, "HEIGHTxWIDTH"),
        ("pets new --size 0", 2, "HEIGHTxWIDTH"),
        ("pets new --shards 0", 2, "--shards"),
        ("pets new", 1, "x.png: it is damaged"),
    ):
        result = run(line)
        assert (result.exit_code, message in result.output) == (code, True), result.output
        assert "Traceback" not in result.output
    result = run("pets new --skip-corrupt")
    assert "Left out 1 of the images. Could not read pets/cat/x.png" in result.output
    assert left(gallery.parent) == ["new", "out", "pets"]


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    """Streaming 400 MB through a buffer of 40 MB; most of what it costs beside is fixed."""
    np.save(
        tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (100_000, 4096), np.uint8)
    )
    convert(tmp_path / "x.npy", tmp_path / "x")
    (tmp_path / "x.npy").unlink()
    code = f"""
import resource, tensorflow as tf
from tfvae.records import Records
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
train = Records.open({str(tmp_path / "x")!r}, buffer_bytes=40 << 20)
next(iter(train.batches(128, epoch=9, skip=700)))
before = peak()
for epoch in range(2):
    assert sum(len(x) for x, in train.batches(128, epoch=epoch)) == 90_000
print((peak() - before) // 1024)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 120
