"""The programs in docs/examples run as they stand, also when everything but what is in use right
now lies on disk, and leave nothing behind."""

import glob
import os
import shutil
import subprocess
import sys

import pytest

from harness import wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = ("cache_aside", "job_queue", "leaderboard", "lock", "rate_limiter", "sessions")
EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "docs", "examples", "*.[pj][ys]")))
MODULES = os.environ.get("FIRN_NODE_MODULES", "")
ENVIRONMENT = {**os.environ, "NODE_PATH": MODULES, "PYTHONDONTWRITEBYTECODE": "1"}


def command(path, port):
    if path.endswith(".py"):
        return [sys.executable, path, str(port)]
    if not shutil.which("node") or not os.path.isdir(os.path.join(MODULES, "redis")):
        pytest.skip("node or node-redis is not installed")
    return ["node", path, str(port)]


def test_there_are_examples():
    names = {os.path.basename(path) for path in EXAMPLES}
    assert {name + suffix for name in NAMES for suffix in (".py", ".js")} <= names


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_example(server, resp, path):
    finished = subprocess.run(command(path, server.port), capture_output=True, text=True,
                              timeout=200, env=ENVIRONMENT)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stdout.endswith(": ok\n")
    assert wait_for(lambda: resp("DBSIZE") == 0), resp("KEYS", "*")


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_example_while_all_keys_are_demoted(server, resp, path):
    process = subprocess.Popen(command(path, server.port), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
    try:
        for _ in range(5000):
            if process.poll() is not None:
                break
            keys = resp("KEYS", "*")
            if keys:
                resp("TIER", "DEMOTE", *keys)
        output, _ = process.communicate(timeout=200)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
