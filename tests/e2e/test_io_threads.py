"""io-threads: other threads read, parse and write; nothing else differs."""

import os
import random
import threading
import time

import pytest

from harness import Error, Simple, wait_for

OK = Simple("OK")


@pytest.fixture(scope="module", params=["auto", "threads"])
def server(request):
    from harness import Server

    instance = Server("--io-threads", "3", "--io-backend", request.param, "--maxmemory", "1gb")
    yield instance
    assert instance.process.poll() is None, f"the server died:\n{instance.log()}"
    instance.remove()


def field(resp, name, section="stats"):
    text = resp("INFO", section).decode()
    return text.split(f"\r\n{name}:")[1].split("\r\n")[0]


def test_info_tells_of_the_threads(resp):
    assert field(resp, "io_threads_active", "server") == "1"
    assert int(field(resp, "io_threaded_reads_processed")) > 0
    assert int(field(resp, "io_threaded_writes_processed")) > 0


def test_a_long_pipeline_keeps_its_order(resp):
    commands = [("SET", f"k{i}", str(i)) for i in range(5000)]
    commands += [("GET", f"k{i}") for i in range(5000)]
    replies = resp.pipeline(commands)
    assert replies[:5000] == [OK] * 5000
    assert replies[5000:] == [str(i).encode() for i in range(5000)]


def test_short_and_long_requests_mixed_in_pieces(server, resp):
    random.seed(7)
    stream, wanted = b"", []
    for i in range(300):
        kind = random.randrange(4)
        if kind == 0:
            stream += b"PING inline%d\r\n" % i
            wanted.append(b"inline%d" % i)
        else:
            value = os.urandom(random.choice([0, 10, 1000, 70_000, 300_000]))
            stream += server.resp().encode("ECHO", value)
            wanted.append(value)
    sent = 0
    while sent < len(stream):
        size = random.choice([1, 7, 100, 5000, 200_000])
        resp.send_raw(stream[sent:sent + size])
        sent += size
        if random.random() < 0.2:
            time.sleep(0.001)
    assert [resp.read() for _ in wanted] == wanted


def test_large_values_go_both_ways(resp):
    value = os.urandom(20 << 20)
    assert resp("SET", "big", value) == OK
    assert resp("GET", "big") == value


def test_protocol_errors_are_answered_after_what_came_before(server):
    with server.resp() as connection:
        connection.send_raw(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n!oops\r\n")
        assert connection.read() == Simple("PONG")
        assert connection.read() == Simple("PONG")
        assert connection.read() == Error("ERR Protocol error: expected '$', got '!'")
        assert connection.at_end()


def test_who_is_not_authenticated_may_send_little(start):
    server = start("--io-threads", "2")
    with server.resp() as connection:
        assert connection("CONFIG", "SET", "requirepass", "secret") == OK
    with server.resp() as connection:
        assert connection("AUTH", "secret") == OK
        assert connection("PING") == Simple("PONG")
        value = b"x" * 50_000
        assert connection("ECHO", value) == value
    with server.resp() as connection:
        connection.send_raw(b"*2\r\n$4\r\nECHO\r\n$20000\r\n")
        assert connection.read() == Error("ERR Protocol error: unauthenticated bulk length")


def test_a_client_that_does_not_read_is_held_back(server, resp):
    resp("SET", "k", b"x" * 10_000)
    with server.resp() as slow:
        slow.send_raw(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 20_000)
        time.sleep(0.2)
        assert resp("PING") == Simple("PONG")
        memory = int(field(resp, "used_memory", "memory"))
        assert memory < 150 << 20
        for _ in range(20_000):
            assert len(slow.read()) == 10_000


def test_many_clients_at_once(server, resp):
    def work(number):
        with server.resp() as connection:
            for i in range(300):
                assert connection("INCR", "sum") > 0
                assert connection("SET", f"c{number}", str(i)) == OK
                assert connection("GET", f"c{number}") == str(i).encode()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resp("GET", "sum") == b"6000"


def test_connections_come_and_go_while_replies_are_sent(server, resp):
    resp("SET", "k", b"x" * 1_000_000)
    for _ in range(50):
        connection = server.resp()
        connection.send("GET", "k")
        connection.close()
    assert wait_for(lambda: int(field(resp, "connected_clients", "clients")) == 1)
    assert resp("PING") == Simple("PONG")


def test_killed_clients_are_gone(server, resp):
    with server.resp() as victim:
        name = victim("CLIENT", "ID")
        resp("SET", "k", b"x" * 5_000_000)
        victim.send("GET", "k")
        assert resp("CLIENT", "KILL", "ID", str(name)) == 1
        assert wait_for(lambda: int(field(resp, "connected_clients", "clients")) == 1)


def test_a_stop_with_clients_connected_is_clean(start):
    server = start("--io-threads", "4")
    connections = [server.resp() for _ in range(20)]
    for connection in connections:
        connection("SET", "k", "v")
    assert server.stop() == 0
