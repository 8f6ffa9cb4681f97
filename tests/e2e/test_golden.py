"""Directories of every version of the on-disk format open, and hold what they should; what newer
servers write is refused by its version. How to make a new one: golden.py."""

import os
import shutil
import struct
import tarfile

import pytest

import golden

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
FILLS = {1: golden.fill_1}
VERSIONS = sorted(FILLS)


def archive_of(version):
    return os.path.join(DATA, f"golden-{version}.tar.xz")


@pytest.fixture
def directory(tmp_path):
    def extract(version):
        with tarfile.open(archive_of(version)) as archive:
            archive.extractall(tmp_path)
        return str(tmp_path / "golden")

    return extract


@pytest.fixture(scope="module")
def expected():
    """What a server of today holds after the same commands."""
    states = {}

    def of(version):
        if version not in states:
            server = golden.Server(*golden.OPTIONS)
            try:
                FILLS[version](server.resp(), lambda how: server.restart(how).resp())
                states[version] = golden.state(server.resp())
            finally:
                server.remove()
        return states[version]

    return of


@pytest.mark.parametrize("version", VERSIONS)
def test_it_opens_and_holds_what_it_should(start, directory, expected, version):
    path = directory(version)
    firn = start(*golden.OPTIONS, directory=path)
    for how in ("kill", "term"):
        with firn.resp() as client:
            assert golden.state(client) == expected(version)
            client("SET", "written", how)
        firn.restart(how)
        with firn.resp() as client:
            assert client("GET", "written") == how.encode()
            client("DEL", "written")
    with firn.resp() as client:
        assert golden.state(client) == expected(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_its_index_can_be_made_anew(start, directory, expected, version):
    path = directory(version)
    shutil.rmtree(os.path.join(path, "index"))
    firn = start(*golden.OPTIONS, directory=path)
    with firn.resp() as client:
        assert golden.state(client) == expected(version)


def test_archives_are_small_and_complete():
    for version in VERSIONS:
        assert os.path.getsize(archive_of(version)) < 200_000
        with tarfile.open(archive_of(version)) as archive:
            names = archive.getnames()
        assert "golden/IDENTITY" in names and "golden/FUNCTIONS" in names
        assert len([name for name in names if name.endswith(".seg")]) >= 3


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def files_of(path):
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            if name not in ("server.log", "LOCK"):
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = file.read()
    return found


def refusal(start, path):
    before = files_of(path)
    firn = start(*golden.OPTIONS, directory=path, wait=False)
    assert firn.wait() == 1
    after = files_of(path)
    assert {name: after.get(name) for name in before if "/index/" not in name} == \
        {name: data for name, data in before.items() if "/index/" not in name}
    return firn.log()


def test_a_directory_of_a_newer_version_is_refused(start, directory):
    path = directory(VERSIONS[-1])
    with open(os.path.join(path, "IDENTITY"), "r+b") as identity:
        identity.seek(8)
        version, = struct.unpack("<I", identity.read(4))
        identity.seek(8)
        identity.write(struct.pack("<I", version + 1))
    assert f"format version {version + 1} is not known" in refusal(start, path)


def test_a_log_of_a_newer_version_is_refused(start, directory):
    path = directory(VERSIONS[-1])
    log = os.path.join(path, "log")
    last = os.path.join(log, sorted(os.listdir(log))[-1])
    for name in sorted(os.listdir(log), reverse=True):
        with open(os.path.join(log, name), "rb") as file:
            header = bytearray(file.read(80))
        if header[:8] == b"FIRNLOG\n":
            last = os.path.join(log, name)
            break
    version, = struct.unpack_from("<I", header, 8)
    struct.pack_into("<I", header, 8, version + 1)
    struct.pack_into("<I", header, 12, 0)
    struct.pack_into("<I", header, 12, crc32c(header))
    with open(last, "r+b") as file:
        file.write(header)
    text = refusal(start, path)
    assert f"version {version + 1}" in text and os.path.basename(last) in text
