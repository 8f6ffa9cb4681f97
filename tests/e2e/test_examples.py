"""The programs in docs/examples run as they stand, also when everything but what is in use right
now lies on disk, and leave nothing behind."""

import glob
import os
import subprocess
import sys

import pytest

from harness import wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "docs", "examples", "*.py")))


def run(path, port):
    return subprocess.run([sys.executable, path, str(port)], capture_output=True, text=True,
                          timeout=60)


def test_there_are_examples():
    names = {os.path.basename(path) for path in EXAMPLES}
    assert {"cache_aside.py", "lock.py", "rate_limiter.py", "leaderboard.py", "job_queue.py",
            "sessions.py"} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_example(server, resp, path):
    finished = run(path, server.port)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.endswith(": ok\n")
    assert wait_for(lambda: resp("DBSIZE") == 0), resp("KEYS", "*")


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_example_while_all_keys_are_demoted(server, resp, path):
    process = subprocess.Popen([sys.executable, path, str(server.port)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for _ in range(5000):
            if process.poll() is not None:
                break
            keys = resp("KEYS", "*")
            if keys:
                resp("TIER", "DEMOTE", *keys)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
