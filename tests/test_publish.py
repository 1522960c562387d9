"""Publishing: versions appear and vanish whole, whoever else works there and whatever dies."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tfvae.export import ExportError, publish, staging
from tfvae.export.manifest import FILENAME, FORMAT

FILES = {
    "saved_model.pb",
    "manifest.json",
    "variables.index",
    *(f"{number}.txt" for number in range(4)),
}
HIDDEN = re.compile(r"\.tfvae-.+\.tmp")


def fill(folder):
    for name in sorted(FILES):
        (folder / name).write_text("whole")
    (folder / FILENAME).write_text(json.dumps({"format": FORMAT}))


def write(folder, keep=None):
    with staging.staging(folder) as staged:
        fill(staged)
        final = publish.publish(staged)
    if keep is not None:
        publish.prune(folder, keep)
    return final


def numbers(folder):
    return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())


def start(code, *arguments):
    """Run code in a process of its own, which has this module's helpers and no TensorFlow."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", script + textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process):
    """Return what a process printed, once it has ended well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def test_publishing_imports_no_tensorflow():
    code = "import tfvae.export.publish; print({'tensorflow', 'keras', 'numpy'} & {*sys.modules})"
    assert said(start(code)) == "set()\n"


# ---------------------------------------------------------------------------- versions


def test_versions_count_up(tmp_path):
    assert write(tmp_path / "m").name == "1"
    assert write(tmp_path / "m").name == "2"
    (tmp_path / "m" / "41").mkdir()
    (tmp_path / "m" / "notes").mkdir()
    assert write(tmp_path / "m").name == "42"
    (tmp_path / "m" / "43").write_text("a file is in the way, and stays")
    assert write(tmp_path / "m").name == "44"


def test_exporters_at_once_get_a_version_each(tmp_path):
    folder, exporters = tmp_path / "m", 8
    published = []
    threads = [
        threading.Thread(target=lambda: published.append(int(write(folder).name)))
        for _ in range(exporters)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(published) == list(range(1, exporters + 1))
    assert sorted(os.listdir(folder)) == sorted(map(str, published))


def test_without_locks_two_exporters_still_get_two_versions(tmp_path, monkeypatch):
    """The number that was free a moment ago is taken: the rename is refused, the next is tried."""
    monkeypatch.setattr(staging, "fcntl", None)
    listing = [[], [tmp_path / "1"]]
    monkeypatch.setattr(publish, "_numbered", lambda _folder: listing.pop(0))
    with staging.staging(tmp_path) as staged:
        fill(staged)
        shutil.copytree(staged, tmp_path / "1")  # another exporter's, in between
        assert publish.publish(staged).name == "2"
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


# ---------------------------------------------------------------------------- retention


def test_prune_keeps_the_newest(tmp_path):
    for _ in range(11):
        write(tmp_path)
    assert [path.name for path in publish.prune(tmp_path, 3)] == list("12345678")
    assert sorted(os.listdir(tmp_path)) == ["10", "11", "9"]  # by number, not by name
    assert publish.prune(tmp_path, 3) == ()
    assert write(tmp_path, keep=1).name == "12"
    assert os.listdir(tmp_path) == ["12"]


def test_prune_leaves_what_is_not_ours(tmp_path):
    for _ in range(3):
        write(tmp_path / "m")
    folder = tmp_path / "m"
    (folder / "notes").mkdir()
    (folder / "4").mkdir()  # another tool's SavedModel
    (folder / "4" / "saved_model.pb").write_text("")
    for number, text in ((5, "{"), (6, "[]"), (7, '{"format": "other"}')):
        (folder / str(number)).mkdir()
        (folder / str(number) / FILENAME).write_text(text)
    shutil.move(folder / "1", tmp_path / "elsewhere")
    (folder / "1").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in publish.prune(folder, 1)] == ["2"]
    assert sorted(os.listdir(folder)) == ["1", "3", "4", "5", "6", "7", "notes"]
    assert set(os.listdir(tmp_path / "elsewhere")) == FILES


@pytest.mark.parametrize("keep", [0, -1, True, 1.0, "2"])
def test_bad_keep(tmp_path, keep):
    write(tmp_path)
    with pytest.raises(ExportError, match=f"`keep` to be a whole number.*keep={keep!r}"):
        publish.prune(tmp_path, keep)
    with pytest.raises(ExportError, match="None to keep all"):
        publish.check_keep(keep)
    assert os.listdir(tmp_path) == ["1"]
    assert (publish.check_keep(None), publish.check_keep(2)) == (None, 2)


def test_a_version_that_cannot_go_stays_whole(tmp_path, monkeypatch):
    for _ in range(3):
        write(tmp_path)
    rename = Path.rename

    def refuse(self, target):
        if self.name == "1":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.warns(UserWarning, match=r"Could not remove .*1: Permission denied"):
        assert [path.name for path in publish.prune(tmp_path, 1)] == ["2"]
    assert sorted(os.listdir(tmp_path)) == ["1", "3"]
    assert set(os.listdir(tmp_path / "1")) == FILES


def test_a_reader_never_sees_half_a_version(tmp_path):
    """Two exporters publish and prune; a third process looks at the folder all the time."""
    reader = """
        import os, time
        from test_publish import FILES
        folder, seen = sys.argv[1], set()
        print("ready", flush=True)
        while not os.path.exists(f"{folder}/done"):
            for name in os.listdir(folder):
                if not name.isdecimal():
                    continue
                for attempt in (1, 2):
                    try:
                        files = set(os.listdir(f"{folder}/{name}"))
                    except FileNotFoundError:
                        break  # pruned since its name was read
                    if files == FILES:
                        seen.add(name)
                        break
                    # Half of it: was it listed just as it was deleted under its hidden name?
                    assert attempt == 1, (name, files)
            time.sleep(0.0005)
        print(len(seen))
    """
    process = start(reader, tmp_path)
    try:
        assert process.stdout.readline() == "ready\n"
        threads = [
            threading.Thread(target=lambda: [write(tmp_path, keep=2) for _ in range(100)])
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        (tmp_path / "done").touch()
    assert int(said(process)) > 10  # it did look while versions came and went
    assert numbers(tmp_path) == [199, 200]


# ---------------------------------------------------------------------------- what dies


def test_killed_at_any_moment(tmp_path):
    """A process is killed at each of its operations on files in turn, and another carries on."""
    driver = """
        import os, re, signal
        from pathlib import Path
        from test_publish import FILES, HIDDEN, numbers, write

        os.fsync = lambda _: None  # the kernel lives on, and what it was given
        folder = Path(sys.argv[1])
        for _ in range(3):
            write(folder)
        operations = re.compile(r"(open|os|shutil|fcntl)[.]?(?!fork|kill|putenv)")

        def killed_at(moment):
            pid = os.fork()
            if pid:
                return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
            count = 0

            def hook(event, _):
                nonlocal count
                if operations.match(event):
                    count += 1
                    if count == moment:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            write(folder, keep=2)
            os._exit(0)

        moment, left = 1, set()
        while killed_at(moment):
            for name in os.listdir(folder):
                if name.isdecimal():
                    assert set(os.listdir(folder / name)) == FILES, (moment, name)
                else:
                    assert HIDDEN.fullmatch(name), (moment, name)
                    left.add(moment)
            before = numbers(folder)
            assert len(before) in (2, 3, 4), (moment, before)
            new = write(folder, keep=3)  # the next export cleans
            assert int(new.name) == before[-1] + 1
            assert sorted(os.listdir(folder)) == sorted(map(str, numbers(folder))), moment
            assert numbers(folder)[-1] == before[-1] + 1
            moment += 1
        print(moment - 1, len(left))
    """
    moments, left = map(int, said(start(driver, tmp_path / "m")).split())
    assert moments > 50
    assert left > 20  # in many of them there was something to clean


def test_an_exporter_at_work_is_left_alone_until_it_dies(tmp_path):
    code = """
        import time
        from pathlib import Path
        from tfvae.export import staging
        with staging.staging(Path(sys.argv[1])) as staged:
            (staged / "half.txt").write_text("half")
            print(staged, flush=True)
            time.sleep(600)
    """
    process = start(code, tmp_path)
    try:
        staged = Path(process.stdout.readline().strip())
        old = time.time() - 30 * 24 * 3600
        os.utime(staged, (old, old))  # however long it has been at it
        write(tmp_path)
        assert os.listdir(staged) == ["half.txt"]
    finally:
        process.kill()
        process.communicate()
    assert staged.exists()
    write(tmp_path)
    assert not staged.exists()
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


@pytest.mark.parametrize("locks", ["another machine's", "none here"])
def test_without_locks_what_is_old_is_cleaned(tmp_path, monkeypatch, locks):
    machine = staging._machine()
    if locks == "none here":

        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(staging.fcntl, "flock", refuse)
    else:
        machine = "0" * 32
    names = ("fresh", "inside", "old")
    folders = dict(zip(names, (f".tfvae-{machine}-{n:08x}.tmp" for n in range(3)), strict=True))
    yesterday = time.time() - 25 * 3600
    for name, folder in folders.items():
        inner = tmp_path / folder / "variables"
        inner.mkdir(parents=True)
        for path in {"fresh": (), "inside": (inner.parent,), "old": (inner, inner.parent)}[name]:
            os.utime(path, (yesterday, yesterday))
    foreign = tmp_path / ".tfvae-notes"
    foreign.mkdir()
    os.utime(foreign, (yesterday, yesterday))
    write(tmp_path)
    assert not (tmp_path / folders["old"]).exists()
    assert all((tmp_path / folders[name]).exists() for name in ("fresh", "inside"))
    assert foreign.exists()


def test_what_the_first_release_left_is_cleaned_by_age(tmp_path):
    left = tmp_path / ".tfvae-host-4242-9f86d081.tmp"
    left.mkdir()
    write(tmp_path)
    assert left.exists()
    os.utime(left, (0, 0))
    write(tmp_path)
    assert not left.exists()


# ---------------------------------------------------------------------------- disks


def test_failure_leaves_nothing(tmp_path):
    def fail(folder):
        with staging.staging(folder) as staged:
            (staged / "half.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "new" / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path):
    def export():
        with staging.staging(tmp_path / "m") as staged:
            (staged / "decode.onnx").symlink_to("/dev/full")
            (staged / "decode.onnx").write_bytes(b"x" * 10_000)

    with pytest.raises(OSError, match=r"No space left on device\. Nothing was published") as caught:
        export()
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "m").exists()


def test_a_disk_that_says_so_only_when_it_is_asked(tmp_path, monkeypatch):
    """Delayed writes fail at fsync: what was not kept is not published."""

    def refuse(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["1"]


def test_a_file_that_may_not_grow(tmp_path):
    code = """
        import resource, signal
        from pathlib import Path
        from tfvae.export import staging
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with staging.staging(Path(sys.argv[1])) as staged:
                (staged / "decode.onnx").write_bytes(b"x" * 10_000)
        except OSError as error:
            print(error.strerror)
    """
    pytest.importorskip("resource")
    text = said(start(code, tmp_path / "m"))
    assert text.startswith(f"Cannot write into {tmp_path / 'm'}: File too large. Nothing was")
    assert not (tmp_path / "m").exists()


def test_other_errors_keep_their_own_words(tmp_path):
    def export():
        with staging.staging(tmp_path / "m"):
            (tmp_path / "nowhere").read_text()

    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*nowhere"):
        export()


def test_read_only_disk(tmp_path, monkeypatch):
    def refuse(self, *_args, **_kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=f"Cannot write into {tmp_path}: Read-only file system"):
        write(tmp_path)


def test_where_folders_cannot_be_renamed(tmp_path, monkeypatch):
    """File by file, and what makes it a version for a server comes last and goes first."""
    write(tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(Path, "rename", refuse)
    copied, copyfile = [], shutil.copyfile

    def log(source, target):
        copied.append(Path(target).name)
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", log)
    assert write(tmp_path).name == "2"
    assert copied[-2:] == ["manifest.json", "saved_model.pb"]
    assert set(copied) == set(os.listdir(tmp_path / "2")) == FILES
    removed, rmtree = [], shutil.rmtree

    def look(path, **options):
        removed.append((Path(path).name, "saved_model.pb" in os.listdir(path)))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    publish.prune(tmp_path, 1)
    assert removed == [("1", False)]
    assert os.listdir(tmp_path) == ["2"]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="Nothing was published"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["2"]


# ---------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty name"),
        ("  ", "empty name"),
        ("../x", r"'\.\.' leads out of a folder.*pass .*/x\."),
        ("savedmodels/../x", r"'\.\.' leads out of a folder.*pass .*/x\."),
        ("..", r"'\.\.' leads out of a folder"),
        ("../a/../x", r"'\.\.' leads out of a folder.*pass .*/x\."),
        ("savedmodels/digits/..", r"'\.\.' leads out.*pass .*/savedmodels\."),
        ("savedmodels/3", r"3 would be taken for a version of 'savedmodels'.*savedmodels/model-3"),
        ("savedmodels/.digits", "not hidden"),
        ("/", "name a model folder"),
        ("dig\0its", "can be printed"),
        ("dig\nits", "can be printed"),
    ],
)
def test_names_that_cannot_be(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (name, Path(name)) if name.strip() else (name,):
        with pytest.raises(ExportError, match=message):
            publish.check_target(path)
    assert os.listdir(tmp_path) == []


def test_names_that_can(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("model", "savedmodels/digits/", "./m", "v1.2", ".hidden/m", "../../models/digits")
    for name in (*names, tmp_path / "7a"):
        assert publish.check_target(name) == Path(name)
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path / "m")
    assert publish.check_target(".") == Path()


def test_targets_that_cannot_be(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "m"):
        with pytest.raises(ExportError, match=f"where {file} is a file"):
            publish.check_target(path)
    version = write(tmp_path / "models" / "digits")
    named = version.rename(version.with_name("best"))
    with pytest.raises(ExportError, match=f"Pass {named.parent} to publish a new version"):
        publish.check_target(named)
    write(tmp_path / "models" / "digits")
    with pytest.raises(ExportError, match=r"holds the models digits\. Name the model too"):
        publish.check_target(tmp_path / "models")
    write(tmp_path / "models")  # somebody wants it so
    assert publish.check_target(tmp_path / "models") == tmp_path / "models"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=f"where {tmp_path} is read-only"):
        publish.check_target(tmp_path / "new" / "m")
