"""recover-until: a backup and the log that was kept after it."""

import os
import shutil
import time

import pytest

from harness import wait_for


def copy(server, path):
    """What a copy of the stopped server's directory is."""
    shutil.copytree(server.directory, path, ignore=shutil.ignore_patterns("LOCK", "server.log"))
    return str(path)


def fill(client, marker, count=4000):
    client.pipeline([("SET", f"key:{i % 500}", f"{marker}:{i}" + "x" * 400)
                     for i in range(count)])
    client("RPUSH", "list", marker)
    client("HSET", "hash", marker, "v")
    client("MULTI")
    client("SET", "t1", marker)
    client("SET", "t2", marker)
    client("EXEC")


def state(client):
    return client("DEBUG", "DIGEST"), client("GET", "t1"), client("GET", "t2"), client("DBSIZE")


def pause():
    time.sleep(0.02)


@pytest.fixture
def history(start, tmp_path):
    """A server with an archive, a backup of it, and what it held at some later moments."""
    archive = str(tmp_path / "archive")
    firn = start("--log-archive-dir", archive, "--log-segment-size", "1mb")
    with firn.resp() as client:
        fill(client, "zero")
    firn.stop()
    backup = copy(firn, tmp_path / "backup")
    moments = []
    for marker in ("one", "two", "three"):
        firn.start()
        with firn.resp() as client:
            fill(client, marker)
            expected = state(client)
            pause()
            seconds, micros = map(int, client("TIME"))
            moments.append((seconds + micros / 1e6, expected))
            pause()
            client("FLUSHALL")
            fill(client, "between")
        # The last of the segments is only kept at the next start.
        firn.kill() if marker == "two" else firn.stop()
    return firn, archive, backup, moments


def restored(start, tmp_path, history, number, moment):
    _, archive, backup, _ = history
    directory = str(tmp_path / f"restored{number}")
    shutil.copytree(backup, directory)
    return start("--log-archive-dir", archive, "--recover-until", moment,
                 "--log-segment-size", "1mb", directory=directory)


def test_every_moment_comes_back(history, start, tmp_path):
    _, archive, _, moments = history
    for number, (unix_time, expected) in enumerate(moments):
        texts = [f"{unix_time:.3f}"]
        if number == 0:
            millis = int(unix_time * 1000) % 1000
            texts.append(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_time))
                         + f".{millis:03d}")
            texts.append(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_time + 7200))
                         + f".{millis:03d} +02:00")
        for variant, text in enumerate(texts):
            firn = restored(start, tmp_path, history, f"{number}-{variant}", text)
            with firn.resp() as client:
                assert state(client) == expected, text
                assert client("CONFIG", "GET", "recover-until") == [b"recover-until", b""]
                client("SET", "goes", "on")
            assert "Recovered: the last record is LSN" in firn.log()
            firn.stop()
            # From then on its log is another one.
            firn.options = ["--log-archive-dir", archive]
            firn.start(wait=False)
            assert firn.wait() == 1
            assert "keeps a later log" in firn.log()
            firn.options = ["--log-archive-dir", str(tmp_path / f"new{number}-{variant}")]
            firn.start()
            with firn.resp() as client:
                assert client("GET", "goes") == b"on"
                assert client("GET", "t1") == expected[1]
            firn.stop()


def test_by_the_number_of_a_record(start, tmp_path):
    archive = str(tmp_path / "archive")
    firn = start("--log-archive-dir", archive)
    with firn.resp() as client:
        client("SET", "a", "1")
    firn.stop()
    backup = copy(firn, tmp_path / "backup")
    firn.start()
    with firn.resp() as client:
        client("SET", "a", "2")
        text = client("INFO", "tiering").decode()
        lsn = int(text.split("appended_lsn:")[1].split()[0])
        client("SET", "a", "3")
    firn.stop()
    firn = start("--log-archive-dir", archive, "--recover-until", f"lsn:{lsn}", directory=backup)
    with firn.resp() as client:
        assert client("GET", "a") == b"2"



def test_what_is_refused(history, start, tmp_path):
    _, archive, backup, moments = history
    (tmp_path / "empty").mkdir()

    def attempt(directory, *options):
        firn = start(*options, directory=str(directory), wait=False)
        assert firn.wait() == 1
        return firn.log()

    now = f"{time.time():.3f}"
    assert "is no moment" in attempt(tmp_path / "empty", "--recover-until", "noon",
                                     "--log-archive-dir", archive)
    assert "needs log-archive-dir" in attempt(backup, "--recover-until", now)
    assert "holds no data" in attempt(tmp_path / "empty", "--recover-until", now,
                                      "--log-archive-dir", archive)
    assert "needs appendonly yes" in attempt(backup, "--recover-until", now, "--appendonly", "no",
                                             "--log-archive-dir", archive)
    assert "later changes" in attempt(backup, "--recover-until", f"{moments[0][0] - 3600:.3f}",
                                      "--log-archive-dir", archive)
    names = sorted(os.listdir(archive))
    os.rename(os.path.join(archive, names[len(names) // 2]), tmp_path / "aside")
    assert "are missing" in attempt(backup, "--recover-until", now, "--log-archive-dir", archive)
    # Nothing was changed by all that.
    os.rename(tmp_path / "aside", os.path.join(archive, names[len(names) // 2]))
    firn = restored(start, tmp_path, history, "last", f"{moments[2][0]:.3f}")
    with firn.resp() as client:
        assert state(client) == moments[2][1]


def test_an_archive_that_cannot_be_written_holds_segments_back(start, tmp_path):
    archive = tmp_path / "archive"
    firn = start("--log-archive-dir", str(archive), "--log-segment-size", "1mb")
    shutil.rmtree(archive)
    archive.write_text("in the way")

    def info(client):
        return dict(line.split(":", 1) for line in client("INFO", "tiering").decode().split()
                    if ":" in line)

    with firn.resp() as client:
        client.pipeline([("SET", f"key:{i % 100}", "x" * 1000) for i in range(6000)])
        assert wait_for(lambda: info(client)["archive_failing"] == "1")
        client("BGREWRITEAOF")
        time.sleep(0.5)
        assert float(info(client)["log_bytes"]) > 5_000_000
        archive.unlink()
        archive.mkdir()
        assert wait_for(lambda: info(client)["archive_failing"] == "0", seconds=20)
        assert wait_for(lambda: int(info(client)["archived_segments"]) >= 5)
        assert client("DBSIZE") == 100
    assert "can't be kept in log-archive-dir" in firn.log()
    assert "can be written to again" in firn.log()
