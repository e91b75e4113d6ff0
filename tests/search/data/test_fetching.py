"""Hostile archives: nothing lands outside, nothing lands without bounds, nothing half looks whole."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.data import fetching as module
from search.data.errors import FetchError
from search.data.fetching import Archive, download, fetching, unpack

Pack = Callable[[Path], None]


def _tar(*members: tuple[str, dict[str, Any], bytes]) -> Pack:
    def pack(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name, fields, content in members:
                item = tarfile.TarInfo(name)
                item.size = len(content)
                for field, value in fields.items():
                    setattr(item, field, value)
                archive.addfile(item, io.BytesIO(content))

    return pack


def _zip(*members: tuple[str | zipfile.ZipInfo, bytes]) -> Pack:
    def pack(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members:
                archive.writestr(name, content)

    return pack


UP = "../../.."
"""From what is unpacked to what is none of its business."""
LINK = {"type": tarfile.SYMTYPE, "linkname": f"{UP}/outside"}
HOSTILE = {
    "tar, above": ("a.tar.gz", _tar((f"{UP}/outside/x", {}, b"x")), "is outside the folder"),
    "tar, above later": ("a.tar.gz", _tar((f"a/../{UP}/outside/x", {}, b"x")), "is outside the folder"),
    "tar, absolute": ("a.tar.gz", _tar(("/x", {}, b"x")), "is outside the folder"),
    "tar, through a link": ("a.tar.gz", _tar(("a", LINK, b""), ("a/x", {}, b"x")), "is a link or a device"),
    "tar, a link inside": (
        "a.tar.gz",
        _tar(("b", {}, b"b"), ("a", {"type": tarfile.SYMTYPE, "linkname": "b"}, b"")),
        "is a link or a device",
    ),
    "tar, a hard link": (
        "a.tar.gz",
        _tar(("a", {"type": tarfile.LNKTYPE, "linkname": f"{UP}/outside/y"}, b"")),
        "is a link or a device",
    ),
    "tar, a pipe": ("a.tar.gz", _tar(("a", {"type": tarfile.FIFOTYPE}, b"")), "is a link or a device"),
    "tar, twice": ("a.tar.gz", _tar(("a", {}, b"1"), ("a", {}, b"2")), "File exists"),
    "tar, too large": ("a.tar.gz", _tar(("a", {}, b"0" * 2000)), "contains more than"),
    "tar, too many": ("a.tar.gz", _tar(*[(f"a{i}", {}, b"") for i in range(20)]), "contains more than"),
    "tar, in sum too large": ("a.tar.gz", _tar(*[(f"a{i}", {}, b"0" * 400) for i in range(4)]), "contains more than"),
    "zip, above": ("a.zip", _zip((f"{UP}/outside/x", b"x")), "is outside the folder"),
    "zip, absolute": ("a.zip", _zip(("/x", b"x")), "is outside the folder"),
    "zip, of Windows": ("a.zip", _zip((r"..\outside\x", b"x")), "is outside the folder"),
    "zip, too large": ("a.zip", _zip(("a", b"0" * 2000)), "contains more than"),
    "zip, too many": ("a.zip", _zip(*[(f"a{i}", b"") for i in range(20)]), "contains more than"),
    "no archive": ("a.tar.gz", lambda path: path.write_bytes(b"not an archive"), "not a gzip file|could not be opened"),
    "no zip": ("a.zip", lambda path: path.write_bytes(b"not an archive"), "not a zip file"),
}


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1500)
    monkeypatch.setattr(module, "MAX_FILES", 10)
    name, pack, words = HOSTILE[case]
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "y").write_text("mine")
    if case == "tar, absolute":
        pack = _tar((f"{outside}/x", {}, b"x"))
    elif case == "zip, absolute":
        pack = _zip((f"{outside}/x", b"x"))
    pack(tmp_path / name)
    with pytest.raises(FetchError, match=words) as caught, fetching("it", root, "copy it") as beside:
        unpack(tmp_path / name, beside / "unpacked")
    assert len(str(caught.value).splitlines()) == 1
    assert _tree(outside) == {"y"}
    assert (outside / "y").read_text() == "mine"
    assert (outside / "y").stat().st_nlink == 1
    assert _tree(root) == {".fetch.lock"}


def test_the_attacks_work_where_nobody_checks(tmp_path: Path) -> None:
    """What the tests above throw is no blank: a plain extraction lets it land outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for case in ("tar, above", "tar, above later", "tar, through a link"):
        name, pack, _ = HOSTILE[case]
        pack(tmp_path / name)
        to = tmp_path / "root" / "partial" / case
        (to / "a").mkdir(parents=True) if case == "tar, above later" else to.mkdir(parents=True)
        with tarfile.open(tmp_path / name) as archive:
            archive.extractall(to, filter="fully_trusted")
        assert _tree(outside) == {"x"}, case
        (outside / "x").unlink()


def test_a_zip_that_lies_about_its_sizes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1500)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"0" * 100_000)
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(content)
    with pytest.raises(FetchError, match=r"more than|CRC"), fetching("it", tmp_path / "root", "copy it") as beside:
        unpack(path, beside / "unpacked")
    assert _tree(tmp_path / "root") == {".fetch.lock"}


def test_good_archives_are_unpacked(tmp_path: Path) -> None:
    folder = {"type": tarfile.DIRTYPE}
    _tar(("d", folder, b""), ("d/a", {}, b"1"), ("./d/b", {"mode": 0o777}, b"2"))(tmp_path / "a.tar.gz")
    _zip(("d/", b""), ("d/a", b"1"), ("d/b", b"2"))(tmp_path / "a.zip")
    for name in ("a.tar.gz", "a.zip"):
        unpack(tmp_path / name, tmp_path / f"{name}.d")
        assert _tree(tmp_path / f"{name}.d") == {"d", "d/a", "d/b"}
        assert (tmp_path / f"{name}.d/d/b").read_bytes() == b"2"
        assert not (tmp_path / f"{name}.d/d/b").stat().st_mode & 0o113  # no rights that the archive asks for


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """A file to be fetched."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"12345")
    return Archive(url=path.as_uri(), algorithm="sha256", digest=hashlib.sha256(b"12345").hexdigest())


def test_a_download_is_checked(archive: Archive, tmp_path: Path) -> None:
    with fetching("it", tmp_path / "root", "copy it") as beside:
        assert download(archive, beside).read_bytes() == b"12345"
    (tmp_path / "a.bin").write_bytes(b"12346")
    with (
        pytest.raises(FetchError, match=r"a\.bin: expected sha256 5994.*, found .*; without a network, copy"),
        fetching("it", tmp_path / "root", "copy it") as beside,
    ):
        download(archive, beside)
    assert _tree(tmp_path / "root") == {".fetch.lock"}


def test_a_download_is_bounded(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 4)
    with (
        pytest.raises(FetchError, match="contains more than 4 bytes"),
        fetching("it", tmp_path / "root", "copy it") as beside,
    ):
        download(archive, beside)


def test_what_a_killed_process_left_is_thrown_away(archive: Archive, tmp_path: Path) -> None:
    left = tmp_path / "root" / ".it.partial"
    left.mkdir(parents=True)
    (left / "a.bin").write_bytes(b"12")
    with fetching("it", tmp_path / "root", "copy it") as beside:
        assert download(archive, beside).read_bytes() == b"12345"
