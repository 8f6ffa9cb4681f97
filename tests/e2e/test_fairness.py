"""Many clients with long pipelines under a small maxmemory: each gets on, and so does a PING."""

import threading
import time


def test_long_pipelines_are_served_in_turn(start):
    server = start("--maxmemory", "64mb")
    value = bytes(range(256)) * 80
    failures = []

    def load(number):
        with server.resp() as client:
            for base in range(0, 200, 20):
                keys = [f"key:{number}:{i}" for i in range(base, base + 20)]
                replies = client.pipeline([("SET", key, key.encode() + value) for key in keys])
                if replies != ["OK"] * len(keys):
                    failures.append(replies)
                for key, reply in zip(keys, client.pipeline([("GET", key) for key in keys])):
                    if reply != key.encode() + value:
                        failures.append(key)

    began = time.monotonic()
    threads = [threading.Thread(target=load, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    with server.resp() as client:
        while any(thread.is_alive() for thread in threads):
            assert client("PING") == "PONG"
    for thread in threads:
        thread.join()
    assert not failures
    # A second where nothing else runs; half a minute when writers waited for memory that nobody
    # freed.
    assert time.monotonic() - began < 20
