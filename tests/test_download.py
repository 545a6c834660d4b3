"""Downloads: complete or absent, with checksums, mirrors, an offline switch and locks."""

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from ganatomy.data import load, published
from ganatomy.evaluation import features
from ganatomy.evaluation.features import FEATURES, FeatureRequest
from ganatomy.storage.download import fetch

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """What it serves and how, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file": CONTENT}
        self.length = True
        """say how long the content is; else in chunks, as much as is wanted"""
        self.most: int | None = None
        """bytes after which a connection is cut"""
        self.pause = 0.0
        """seconds between blocks"""
        self.location = ""
        """where all are redirected to"""
        self.asked: list[str] = []
        """path of each request"""
        self.served = 0
        """bytes in all"""

    def url(self, path: str = "/file") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.path)
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            return self.end_headers()
        if self.path not in server.files:
            return self.send_error(404)
        content = server.files[self.path]
        self.send_response(200)
        if server.length:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self._send(content[: server.most])

    def _send(self, content: bytes) -> None:
        try:
            for i in range(0, len(content), 10_000):
                self.server.served += len(content[i : i + 10_000])  # before a reader can have it
                self.wfile.write(content[i : i + 10_000])
                time.sleep(self.server.pause)
        except OSError:  # the other side has had enough
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves on this machine, whatever proxy it uses."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("GANATOMY_OFFLINE", raising=False)
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def visible(folder: Path) -> list[str]:
    """What is in a folder but for locks."""
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    fetch(server.url(), path, SHA)
    assert path.read_bytes() == CONTENT and visible(tmp_path / "new") == ["file"]
    fetch(server.url(), path, SHA)
    assert server.asked == ["/file"]
    path.write_bytes(b"another file")
    fetch(server.url(), path, SHA)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_a_cut_download_leaves_nothing(server: Server, tmp_path: Path, length: bool) -> None:
    server.most, server.length = 300_000, length
    with pytest.raises(OSError, match=r"^cannot download http.*/file: ") as error:
        fetch(server.url(), tmp_path / "file", SHA)
    assert "\n" not in str(error.value) and visible(tmp_path) == []
    server.most = None
    fetch(server.url(), tmp_path / "file", SHA)
    assert (tmp_path / "file").read_bytes() == CONTENT and visible(tmp_path) == ["file"]


def test_wrong_bytes_leave_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    (tmp_path / "file").write_bytes(b"an earlier file")
    with pytest.raises(OSError, match=f"^cannot download http.*/file: .*expected {SHA} but got"):
        fetch(server.url(), tmp_path / "file", SHA)
    assert visible(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"an earlier file"


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    server.files["/wrong"] = CONTENT[::-1]
    urls = [server.url(path) for path in ("/none", "/wrong", "/file", "/never")]
    fetch(urls, tmp_path / "file", SHA)
    assert server.asked == ["/none", "/wrong", "/file"]
    assert (tmp_path / "file").read_bytes() == CONTENT
    with pytest.raises(OSError, match=r"/none: 404 .*; .*/wrong: .*does not match") as error:
        fetch(urls[:2], tmp_path / "other", SHA)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_asks_nobody_and_writes_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GANATOMY_OFFLINE", value)
    with pytest.raises(OSError, match=r"^GANATOMY_OFFLINE is set.* unset it") as error:
        fetch(server.url(), tmp_path / "new/file", SHA)
    assert "\n" not in str(error.value) and not server.asked and not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(CONTENT)
    fetch(server.url(), tmp_path / "file", SHA)  # there is nothing to ask for
    for off in ("", "0"):
        monkeypatch.setenv("GANATOMY_OFFLINE", off)
        fetch(server.url(), tmp_path / f"file{off}", SHA)


@pytest.mark.parametrize("kind", ["file", "ftp"])
def test_only_http_is_downloaded(server: Server, tmp_path: Path, kind: str) -> None:
    (tmp_path / "here").write_bytes(CONTENT)
    address = (tmp_path / "here").as_uri() if kind == "file" else "ftp://127.0.0.1/file"
    with pytest.raises(OSError, match="No connection adapters"):
        fetch(address, tmp_path / "file", SHA)
    server.location = address
    with pytest.raises(OSError, match="No connection adapters"):
        fetch(server.url(), tmp_path / "file", SHA)
    assert visible(tmp_path) == ["here"]


def test_processes_and_threads_share_one_download(server: Server, tmp_path: Path) -> None:
    server.pause = 0.002
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(fetch, server.url(), tmp_path / "file", SHA) for _ in range(4)]:
            done.result()
    assert server.served == 1_000_000 and (tmp_path / "file").read_bytes() == CONTENT


def code(server: Server, path: Path) -> str:
    """Write a program that downloads the file."""
    return (
        "from pathlib import Path; from ganatomy.storage.download import fetch; "
        f"fetch({server.url()!r}, Path({str(path)!r}), {SHA!r})"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="kills as Unix does")
def test_killed_in_the_middle(server: Server, tmp_path: Path) -> None:
    server.pause = 0.02
    process = subprocess.Popen([sys.executable, "-c", code(server, tmp_path / "file")])
    while server.served < 100_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and "file" not in visible(tmp_path)
    server.pause = 0
    fetch(server.url(), tmp_path / "file", SHA)
    assert (tmp_path / "file").read_bytes() == CONTENT and visible(tmp_path) == ["file"]


def idx(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def fashion(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Serves a small Fashion-MNIST; its first mirror has nothing."""
    files = {
        f"{part}-{kind}-ubyte.gz": gzip.compress(idx(np.zeros((n, *shape), np.uint8)), 1)
        for part, n in (("train", 60_000), ("t10k", 10_000))
        for kind, shape in (("images-idx3", (28, 28)), ("labels-idx1", ()))
    }
    kind = torchvision.datasets.FashionMNIST
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(kind, "resources", sums)
    monkeypatch.setattr(kind, "mirrors", [server.url("/none/"), server.url("/")])
    server.files = {f"/{name}": content for name, content in files.items()}
    return server


def test_idx_files_are_fetched_unpacked_and_read(fashion: Server, tmp_path: Path) -> None:
    assert load("fashion-mnist", tmp_path, "test").values.shape == (10_000, 1, 28, 28)
    assert len(fashion.asked) == 8
    (tmp_path / "FashionMNIST/raw/t10k-labels-idx1-ubyte").unlink()
    load("fashion-mnist", tmp_path, "train")  # its archive is still there
    assert len(fashion.asked) == 8 and not list(tmp_path.rglob("*.tmp"))
    for path in tmp_path.rglob("t10k-labels*"):
        path.unlink()
    load("fashion-mnist", tmp_path, "test")
    assert len(fashion.asked) == 10


def test_idx_files_come_whole_or_not_at_all(fashion: Server, tmp_path: Path) -> None:
    fashion.most = 10
    with pytest.raises(
        ValueError, match=r"^no FashionMNIST in .*: cannot download .*10 bytes read"
    ):
        load("fashion-mnist", tmp_path, "test")
    assert not list(tmp_path.rglob("*ubyte")) and not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name, kind", [("fashion-mnist", "FashionMNIST"), ("mnist", "MNIST")])
def test_absent_datasets_say_that_offline_is_why(
    fashion: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    line = rf"^no {kind} in .*could be downloaded: GANATOMY_OFFLINE is set.*unset it.*--data-root"
    with pytest.raises(ValueError, match=line):
        load(name, tmp_path, "train")
    assert not fashion.asked and not list(tmp_path.iterdir())


def test_what_unpacks_to_too_much_is_refused(
    fashion: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "LONGEST", 1_000_000)
    with pytest.raises(ValueError, match="images-idx3-ubyte has more than 1,000,000 bytes"):
        load("fashion-mnist", tmp_path, "test")
    assert not list(tmp_path.rglob("*ubyte"))


def tarred(server: Server, contents: dict[str, bytes | str]) -> list[list[str]]:
    """Serve an archive of files and, where a text stands, links; return the md5 of each file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    server.files["/c.tgz"] = packed.getvalue()
    files = {n.rpartition("/")[2]: c for n, c in contents.items() if isinstance(c, bytes)}
    return [[name, hashlib.md5(content).hexdigest()] for name, content in files.items()]


@pytest.fixture
def cifar(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Serves a small CIFAR-10 with more in it than belongs there."""
    folder, kind = published.CIFAR10.folder, torchvision.datasets.CIFAR10
    batch = pickle.dumps({"data": np.zeros((10_000, 3072), np.uint8), "labels": [3] * 10_000})
    meta = pickle.dumps({"label_names": list(published.CIFAR10.classes)})
    contents: dict[str, bytes | str] = {f"{folder}/batches.meta": meta}
    contents |= {f"{folder}/{name}": batch for name in published.CIFAR10.files[:6]}
    sums = tarred(server, contents)
    monkeypatch.setattr(kind, "train_list", sums[1:6])
    monkeypatch.setattr(kind, "test_list", sums[6:])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": sums[0][1]})
    more: dict[str, bytes | str] = {"../escaped": b"x", f"{folder}/readme.html": b"x"}
    tarred(server, more | contents | {f"{folder}/link": "/etc/passwd"})
    monkeypatch.setattr(kind, "url", server.url("/c.tgz"))
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(server.files["/c.tgz"]).hexdigest())
    return server


def test_cifar10_is_fetched_unpacked_and_read(cifar: Server, tmp_path: Path) -> None:
    root = tmp_path / "root"
    test = load("cifar10", root, "test")
    assert test.values.shape == (10_000, 3, 32, 32) and set(test.labels.tolist()) == {3}
    archive, folder = torchvision.datasets.CIFAR10.filename, published.CIFAR10.folder
    assert visible(tmp_path) == sorted(["root", archive, folder, *published.CIFAR10.files])
    (root / folder / "batches.meta").unlink()
    load("cifar10", root, "test")
    assert len(cifar.asked) == 1


def test_links_in_an_archive_are_not_followed(
    cifar: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, kind = published.CIFAR10.folder, torchvision.datasets.CIFAR10
    tarred(cifar, {"other": b"x", f"{folder}/test_batch": "../other"})
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(cifar.files["/c.tgz"]).hexdigest())
    with pytest.raises(ValueError, match="CIFAR10"):
        load("cifar10", tmp_path, "test")
    assert not (tmp_path / folder).exists()


def test_inceptions_weights_are_fetched_to_where_pytorch_looks(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch_fidelity.feature_extractor_inceptionv3 as fidelity

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fidelity, "URL_INCEPTION_V3", server.url())
    monkeypatch.setattr(features, "INCEPTION_SHA256", SHA.removeprefix("sha256:"))
    wanted = FeatureRequest(data="mnist", digest="", shape=(1, 28, 28))
    monkeypatch.setenv("GANATOMY_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"GANATOMY_OFFLINE is set.*--inception-weights"):
        FEATURES["inception-64"].load(wanted)
    assert not server.asked
    monkeypatch.delenv("GANATOMY_OFFLINE")
    with pytest.raises(ValueError, match="does not hold Inception's weights"):
        FEATURES["inception-64"].load(wanted)
    assert features.inception_file().read_bytes() == CONTENT and len(server.asked) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_progress_is_shown_in_a_terminal_alone(
    server: Server, tmp_path: Path, terminal: bool
) -> None:
    import pty
    import termios

    server.pause = 0.01
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(theirs, (24, 80))
    os.set_blocking(ours, False)
    done = subprocess.run(
        [sys.executable, "-c", code(server, tmp_path / "file")],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm"},
    )
    seen = b""
    with contextlib.suppress(BlockingIOError):  # nothing more
        while part := os.read(ours, 1_000_000):
            seen += part
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and not done.stdout
    assert b"/1.00M" in seen if terminal else not seen
