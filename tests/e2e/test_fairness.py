"""Many clients with long pipelines under a small maxmemory: each gets on, and so does a PING."""

import threading
import time


def test_long_pipelines_are_served_in_turn(start):
    with_room = seconds_of_pipelines(start("--maxmemory", "1gb"))
    # As fast nearly; thirty times as slow when writers waited for memory that nobody freed.
    assert seconds_of_pipelines(start("--maxmemory", "64mb")) < 10 * with_room + 3


def seconds_of_pipelines(server):
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
    return time.monotonic() - began
