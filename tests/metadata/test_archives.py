from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qttseg.errors import DatasetError
from qttseg.metadata.archives import Limits, is_archive, unpack

FILES = {
    "data/images/a.png": b"picture",
    "data/masks/a.png": b"mask",
    "data/имя с пробелом [1].txt": b"",
    "b": b"x" * 9,
}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w", **fields: object) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archives_of_every_kind_are_unpacked_whatever_their_name(tmp_path: Path, mode: str) -> None:
    archive = tmp_path / "download"
    zipped(archive, FILES) if mode == "zip" else tarred(archive, FILES, mode)
    assert is_archive(archive)
    unpack(archive, tmp_path / "out")
    assert found(tmp_path / "out") == FILES


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz"])
def test_only_what_is_wanted_is_written_and_all_is_named(tmp_path: Path, mode: str) -> None:
    archive, files = tmp_path / "a", {"before": bytes(2**22), **FILES, "after": bytes(2**22)}
    zipped(archive, files) if mode == "zip" else tarred(archive, files, mode)
    assert unpack(archive, tmp_path / "out", wanted=lambda name: name.startswith("data/masks/")) == list(files)
    assert found(tmp_path / "out") == {"data/masks/a.png": b"mask"}
    with pytest.raises(DatasetError, match="'after' more comes out than"):
        unpack(
            archive,
            tmp_path / "none",
            wanted=lambda _: False,
            limits=Limits(harmless=2**22 + 99, ratio=1, size=2**22 + 99),
        )
    evil = tmp_path / "evil"
    zipped(evil, {"../a": b""}) if mode == "zip" else tarred(evil, {"../a": b""}, mode)
    with pytest.raises(DatasetError, match="is refused"):
        unpack(evil, tmp_path / "none", wanted=lambda _: False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:/evil", "\\evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, pack, name: str) -> None:
    archive = pack(tmp_path / "archive", {"good": b"1", name: b"2"})
    with pytest.raises(DatasetError, match="is refused") as caught:
        unpack(archive, tmp_path / "deep/out")
    assert repr(name) in str(caught.value)
    assert found(tmp_path) == {"archive": archive.read_bytes(), "deep/out/good": b"1"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tarred(tmp_path / "a.tar", {"door": b""}, type=kind, linkname="/etc")
    with pytest.raises(DatasetError, match="'door' is refused: it is a link or device"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("door")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(DatasetError, match="'door' is refused"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, lambda path, files: tarred(path, files, "w:gz")])
def test_a_bomb_is_stopped_before_it_fills_the_disk(tmp_path: Path, pack) -> None:
    archive = pack(tmp_path / "archive", {"small": b"1", "bomb": bytes(2**22)})
    limits = Limits(harmless=2**20)
    with pytest.raises(DatasetError, match="'bomb' more comes out than"):
        unpack(archive, tmp_path / "out", limits=limits)
    assert found(tmp_path / "out") == {"small": b"1"}
    many = pack(tmp_path / "many", {str(index): b"" for index in range(9)})
    with pytest.raises(DatasetError, match="'5' more comes out"):
        unpack(many, tmp_path / "few", limits=Limits(members=5))


def test_a_header_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**32
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as archive:
        archive.write(info.tobuf())
        archive.write(bytes(2**25))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="header without end"):
            unpack(tmp_path / "a.tgz", tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    with pytest.raises(DatasetError, match="member 'a' cannot be unpacked"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(DatasetError, match="member 'a/b' cannot be unpacked"):
        unpack(tarred(tmp_path / "a.tar", {"a": b"1", "a/b": b"2"}), tmp_path / "out2")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("damaged")
    pack = data.draw(
        st.sampled_from([zipped, tarred, *(lambda p, f, m=m: tarred(p, f, m) for m in ("w:gz", "w:xz", "w:bz2"))])
    )
    content = bytearray(pack(root / "archive", FILES).read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    (root / "archive").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DatasetError):
        unpack(root / "archive", root / "out")
    assert {path.name for path in root.iterdir()} <= {"archive", "out"}
