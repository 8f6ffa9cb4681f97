"""Raw bytes: RESP2, RESP3, inline commands, and what is no protocol at all."""

import random
import socket
import time

import pytest

from harness import RespClient


def exchange(server, data):
    """Sends bytes and an end; what came back until the server closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


@pytest.mark.parametrize("data, reply", [
    (b"PING\r\n", b"+PONG\r\n"),
    (b"PING\n", b"+PONG\r\n"),
    (b"\r\nPING\r\n", b"+PONG\r\n"),
    (b"ping \"hello world\"\r\n", b"$11\r\nhello world\r\n"),
    (b"PING 'it\\'s' \r\n", b"$4\r\nit's\r\n"),
    (b"PING \"\\x41\\n\"\r\n", b"$2\r\nA\n\r\n"),
    (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    (b"*-10\r\nPING\r\n", b"+PONG\r\n"),
    (b"*0\r\nPING\r\n", b"+PONG\r\n"),
    (b"*-1\r\n*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
    (b"GET none\r\n", b"$-1\r\n"),
    (b"MGET a b\r\n", b"*2\r\n$-1\r\n$-1\r\n"),
    (b"HELLO 3\r\nGET none\r\n", None),
    (b"NOSUCH a b\r\n", b"-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' \r\n"),
])
def test_well_formed(server, data, reply):
    received = exchange(server, data)
    if reply is None:
        assert received.startswith(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
        assert received.endswith(b"_\r\n")
    else:
        assert received == reply


@pytest.mark.parametrize("data, error", [
    (b"*3000000000\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*abc\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", b"-ERR Protocol error: expected '$', got 'f'"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"SET k \"unbalanced\r\n", b"-ERR Protocol error: unbalanced quotes in request"),
    (b"*" + b"1" * 70000, b"-ERR Protocol error: too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 70000, b"-ERR Protocol error: too big bulk count string"),
    (b"x" * 70000, b"-ERR Protocol error: too big inline request"),
])
def test_malformed(server, data, error):
    assert exchange(server, data).startswith(error)
    with server.resp() as client:
        assert client("PING") == "PONG"


def test_bytes_one_at_a_time(server):
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\nGET k\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            connection.sendall(request[i:i + 1])
            time.sleep(0.001)
        received = b""
        while len(received) < 16:
            received += connection.recv(100)
        assert received == b"+OK\r\n$5\r\nvalue\r\n"


@pytest.mark.parametrize("seed", range(20))
def test_garbage_never_ends_the_server(server, seed):
    generator = random.Random(seed)
    pieces = [b"*", b"$", b"\r\n", b"-1", b"3", b"GET", b"SET", b"\x00", b"\xff" * 9, b"PING\r\n",
              b"99999999999", b"\"", b"'", b" ", b"*1\r\n$4\r\nPING\r\n"]
    data = b"".join(generator.choice(pieces) for _ in range(300))
    exchange(server, data)
    with server.resp() as client:
        assert client("PING") == "PONG"


def test_a_pipeline_of_any_depth(server):
    count = 50_000
    with server.resp() as client:
        client("DEL", "n")
        client.send_raw(client.encode("INCR", "n") * count)
        for i in range(count):
            assert client.read() == i + 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_types(server, protocol):
    with server.resp() as client:
        if protocol == 3:
            hello = client("HELLO", 3)
            assert hello[b"proto"] == 3 and hello[b"role"] == b"master"
        reply = {name: client("DEBUG", "PROTOCOL", name) for name in (
            "string", "integer", "null", "array", "set", "map", "true", "false", "double",
            "bignum", "verbatim")}
        assert reply["string"] == b"Hello World"
        assert reply["integer"] == 12345
        assert reply["null"] is None
        assert reply["array"] == [0, 1, 2]
        if protocol == 2:
            assert reply["set"] == [0, 1, 2]
            assert reply["map"] == [0, 0, 1, 1, 2, 0]
            assert (reply["true"], reply["false"]) == (1, 0)
            assert reply["double"] == b"3.141"
            assert reply["bignum"] == b"1234567999999999999999999999999999999"
            assert reply["verbatim"] == b"This is a verbatim\nstring"
        else:
            assert reply["set"] == {0, 1, 2}
            assert reply["map"] == {0: False, 1: True, 2: False}
            assert (reply["true"], reply["false"]) == (True, False)
            assert reply["double"] == 3.141
            assert reply["bignum"] == ("bignum", 1234567999999999999999999999999999999)
            assert reply["verbatim"] == ("verbatim", b"txt", b"This is a verbatim\nstring")


def test_a_client_that_never_reads_is_bounded(start):
    server = start("--client-output-buffer-limit", "normal 1mb 0 0")
    with server.resp() as admin:
        admin("SET", "big", b"x" * 100_000)
        greedy = RespClient(server.port)
        try:
            for _ in range(20):
                greedy.send_raw(greedy.encode("GET", "big") * 500)
        except OSError:
            pass
        deadline = time.monotonic() + 120
        used = None
        while time.monotonic() < deadline:
            info = admin("INFO", "memory").decode()
            used = int(info.split("used_memory:")[1].split("\r\n")[0])
            assert used < 200 << 20
            if b"cmd=get" not in admin("CLIENT", "LIST"):
                break
            time.sleep(0.05)
        assert admin("PING") == "PONG"
        greedy.socket.close()
