"""A copy of a folder can be resumed from at any time, whichever changes have arrived."""

import dataclasses
import os
from pathlib import Path

import pytest

from ganatomy.studies.executors import sync
from ganatomy.studies.executors.sync import Sent, apply, changes


def files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def step(folder: Path, copy: Path, sent: dict[str, Sent]) -> tuple[dict[str, int], dict[str, Sent]]:
    """Synchronize a copy with its folder; return the bytes sent of each file, and the state."""
    found, sent = changes(folder, sent)
    apply(copy, found)
    assert files(copy) == files(folder)
    return {name: len(content) for name, (_, content) in found.written.items()}, sent


def test_a_copy_follows(tmp_path: Path) -> None:
    folder, copy = tmp_path / "folder", tmp_path / "copy"
    (folder / "samples").mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "log.jsonl").write_text("1\n2\n")
    (folder / "samples/a.png").write_bytes(b"image")
    bytes_sent, sent = step(folder, copy, {})
    assert bytes_sent == {"empty": 0, "log.jsonl": 4, "samples/a.png": 5}
    assert step(folder, copy, sent)[0] == {}

    with (folder / "log.jsonl").open("a") as log:
        log.write("3\n")
    (folder / "samples/a.png").unlink()
    bytes_sent, sent = step(folder, copy, sent)
    assert bytes_sent == {"log.jsonl": 2}  # only what was added

    (folder / "log.jsonl").write_text("1\n4\n5\n6\n")  # rewound, then longer than it was
    (folder / "samples/a.png").write_bytes(b"image")
    bytes_sent, sent = step(folder, copy, sent)
    assert bytes_sent == {"log.jsonl": 8, "samples/a.png": 5}


def test_half_a_row_and_hidden_files_stay(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"st')
    (tmp_path / ".lock").touch()
    found, _ = changes(tmp_path, {})
    assert found.written == {"log.jsonl": (0, b'{"step": 1}\n')}


def test_at_the_end_stamps_are_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1")
    _, sent = changes(tmp_path, {})
    before = file.stat()
    file.write_text("2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changes(tmp_path, sent)[0].written == {}
    assert changes(tmp_path, sent, ended=True)[0].written == {"a": (0, b"2")}


def test_rows_come_before_their_checkpoint_and_that_before_the_last_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, copy = tmp_path / "folder", tmp_path / "copy"
    folder.mkdir()
    (folder / "step-1.pt").touch()
    _, sent = changes(folder, {})
    (folder / "step-1.pt").rename(folder / "step-2.pt")
    (folder / "z.jsonl").write_text("1\n")
    read = sync._read

    def later(file: Path, sent: Sent | None) -> tuple[tuple[int, int, int], bytes | None]:
        found = read(file, sent)  # a row and a checkpoint are written while others are read
        if file.name == "step-2.pt":
            (folder / "z.jsonl").write_text("1\n2\n")
        return found

    monkeypatch.setattr(sync, "_read", later)
    found, _ = changes(folder, sent)
    assert found.written["z.jsonl"] == (0, b"1\n2\n") and found.gone == ("step-1.pt",)
    order: list[str] = []
    monkeypatch.setattr(sync, "write_atomic", lambda path, _: order.append(path.name))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: order.append(f"no {path.name}"))
    assert apply(copy, found)
    assert order == ["z.jsonl", "step-2.pt", "no step-1.pt"]
    assert not apply(copy, dataclasses.replace(found, written={}))


def test_a_checkpoint_that_goes_while_it_is_read_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "step-1.pt").write_text("1")
    _, sent = changes(tmp_path, {})
    (tmp_path / "step-1.pt").rename(tmp_path / "step-2.pt")
    read = sync._read

    def faster(file: Path, sent: Sent | None) -> tuple[tuple[int, int, int], bytes | None]:
        if file.name == "step-2.pt":
            file.rename(file.with_name("step-3.pt"))
        return read(file, sent)

    monkeypatch.setattr(sync, "_read", faster)
    found, sent = changes(tmp_path, sent)
    assert found.gone == () and found.written == {}
    found, sent = changes(tmp_path, sent)
    assert found.gone == ("step-1.pt",) and sent.keys() == found.written.keys() == {"step-3.pt"}


def test_a_file_that_comes_back_while_others_are_listed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, names = tmp_path / "a.png", sync._names
    file.write_text("1")
    _, sent = changes(tmp_path, {})
    file.unlink()
    monkeypatch.setattr(sync, "_names", lambda folder: [file.write_text("2"), *names(folder)][1:])
    found, _ = changes(tmp_path, sent)
    assert found.written == {"a.png": (0, b"2")} and found.gone == ()
