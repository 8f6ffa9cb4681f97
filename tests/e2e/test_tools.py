"""Programs that people point at a Redis: redis-cli's modes, Debian's exporter for Prometheus."""

import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

from harness import _die_with_parent, free_port, wait_for

pytestmark = pytest.mark.skipif(not shutil.which("redis-cli"), reason="redis-cli isn't installed")


def cli(server, *arguments, text=None):
    finished = subprocess.run(["redis-cli", "-p", str(server.port), *arguments], input=text,
                              capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture
def filled(server, resp):
    resp.pipeline([("SET", f"key:{i}", "v" * 50) for i in range(500)])
    resp("RPUSH", "list", *range(3000))
    resp("HSET", "hash", "field", "v" * 3000)
    resp("SADD", "set", *range(200))
    resp("ZADD", "zset", 1, "member")
    resp("XADD", "stream", "*", "field", "value")
    assert resp("TIER", "DEMOTE", "list", "key:1", "stream") == 3
    return server


def test_bigkeys(filled):
    text = cli(filled, "--bigkeys")
    assert re.search(r'Biggest\s+list found .*list.* has 3000 items', text), text
    assert "1 streams with 1 entries" in text
    assert "500 strings with 25000 bytes" in text


def test_memkeys(filled):
    text = cli(filled, "--memkeys")
    assert re.search(r'Biggest\s+list found .*list.* has \d+ bytes', text), text


def test_scan(filled):
    assert len(set(cli(filled, "--scan").split())) == 505
    assert cli(filled, "--scan", "--pattern", "key:49?").split() != []


def test_pipe(filled):
    text = cli(filled, "--pipe", text="".join(f"SET piped:{i} {i}\r\n" for i in range(2000)))
    assert "errors: 0, replies: 2000" in text


@pytest.mark.parametrize("mode", ["--latency", "--stat"])
def test_modes_that_go_on_for_ever(filled, mode):
    process = subprocess.Popen(
        ["stdbuf", "-oL", "redis-cli", "-p", str(filled.port), mode, "-i", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_die_with_parent)
    try:
        process.wait(2.5)
    except subprocess.TimeoutExpired:
        pass
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert re.search(r"\d", output) and "rror" not in output, output


def test_prometheus_exporter(filled, resp):
    binary = shutil.which("prometheus-redis-exporter")
    if binary is None:
        pytest.skip("prometheus-redis-exporter isn't installed")
    resp("CONFIG", "RESETSTAT")
    port = free_port()
    process = subprocess.Popen(
        [binary, "-redis.addr", f"redis://127.0.0.1:{filled.port}",
         "-web.listen-address", f"127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    def metrics():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120) as page:
                return page.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    try:
        text = wait_for(metrics, interval=0.1)
    finally:
        process.kill()
        process.wait()
    assert "\nredis_up 1\n" in text
    assert '\nredis_exporter_last_scrape_error{err=""} 0\n' in text
    assert '\nredis_db_keys{db="db0"} 505\n' in text
    assert "errorstat_" not in resp("INFO", "errorstats").decode()
