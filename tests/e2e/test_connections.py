"""Connections: how they begin and end, what they are told, what they may hold."""

import re
import signal
import socket
import time

import pytest

from harness import Error, wait_for


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    return connection


def read_to_end(connection):
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def client_lines(resp):
    lines = resp("CLIENT", "LIST").decode().splitlines()
    return [dict(field.split("=", 1) for field in line.split(" ")) for line in lines]


def test_a_peer_that_closed_its_half_gets_its_replies(server):
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(b"SET half 1\r\nINCR half\r\nGET half\r\n")
            connection.shutdown(socket.SHUT_WR)
            assert read_to_end(connection) == b"+OK\r\n:2\r\n$1\r\n2\r\n"


def test_a_half_closed_pipeline_of_cold_reads_is_answered(server, resp):
    for i in range(200):
        resp("SET", f"k{i}", "v" * 2000)
    resp("TIER", "DEMOTE", *[f"k{i}" for i in range(200)])
    with connect(server) as connection:
        connection.sendall(b"".join(b"GET k%d\r\n" % i for i in range(200)))
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == (b"$2000\r\n" + b"v" * 2000 + b"\r\n") * 200


def test_nothing_runs_after_quit(server, resp):
    with connect(server) as connection:
        connection.sendall(b"SET q 1\r\nQUIT\r\nSET q 2\r\n")
        assert read_to_end(connection) == b"+OK\r\n+OK\r\n"
    assert resp("GET", "q") == b"1"


def test_a_protocol_error_comes_after_the_replies_before_it(server, resp):
    resp("SET", "cold", "v" * 5000)
    resp("TIER", "DEMOTE", "cold")
    with connect(server) as connection:
        connection.sendall(b"GET cold\r\nSTRLEN cold\r\n*x\r\nPING\r\n")
        reply = b"$5000\r\n" + b"v" * 5000 + b"\r\n:5000\r\n"
        assert read_to_end(connection) == (
            reply + b"-ERR Protocol error: invalid multibulk length\r\n")


def test_http_is_turned_away(server):
    with connect(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\n\r\nSET http 1\r\n")
        assert read_to_end(connection) == b""
    assert "Possible SECURITY ATTACK detected" in server.log()


def test_commands_that_wait_keep_their_order(server, resp):
    """Those that run from the received bytes behind those that don't."""
    with connect(server) as connection:
        connection.sendall(b"SET a 1\r\nDBSIZE\r\nINCR a\r\nRANDOMKEY\r\nGET a\r\nKEYS *\r\nDEL a\r\n"
                           b"PING\r\nQUIT\r\n")
        assert read_to_end(connection) == (
            b"+OK\r\n:1\r\n:2\r\n$1\r\na\r\n$1\r\n2\r\n*1\r\n$1\r\na\r\n:1\r\n+PONG\r\n+OK\r\n")


def test_a_database_chosen_in_a_pipeline_holds_for_what_follows(server, resp):
    with connect(server) as connection:
        connection.sendall(b"SET db 0\r\nSELECT 1\r\nGET db\r\nSET db 1\r\nSELECT 0\r\nGET db\r\n"
                           b"QUIT\r\n")
        assert read_to_end(connection) == (
            b"+OK\r\n+OK\r\n$-1\r\n+OK\r\n+OK\r\n$1\r\n0\r\n+OK\r\n")


def test_the_first_password_of_a_pipeline_opens_it(start):
    server = start("--requirepass", "secret", wait=False)
    wait_for(lambda: "Ready to accept" in server.log())
    with connect(server) as connection:
        connection.sendall(b"GET a\r\nAUTH wrong\r\nAUTH secret\r\nSET a 1\r\nQUIT\r\n")
        assert read_to_end(connection) == (
            b"-NOAUTH Authentication required.\r\n"
            b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
            b"+OK\r\n+OK\r\n+OK\r\n")
    with connect(server) as connection:
        connection.sendall(b"*11\r\n")
        assert b"unauthenticated multibulk length" in read_to_end(connection)
    with connect(server) as connection:
        connection.sendall(b"*1\r\n$20000\r\n")
        assert b"unauthenticated bulk length" in read_to_end(connection)


def test_client_list_has_all_fields_in_their_order(server, resp):
    line = resp("CLIENT", "INFO").decode().strip()
    names = re.findall(r"(?:^| )([a-z-]+)=", line)
    assert names == ("id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free "
                     "argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp "
                     "lib-name lib-ver").split()
    fields = client_lines(resp)[-1]
    assert fields["cmd"] == "client|list" and fields["flags"] == "N"


def test_a_buffer_for_a_large_value_is_given_back(server, resp):
    resp("SET", "large", "x" * 5_000_000)
    fields = client_lines(resp)[-1]
    assert int(fields["tot-mem"]) < 100_000
    assert int(fields["qbuf-free"]) < 100_000


def test_idle_connections_hold_little(server, resp):
    connections = [connect(server) for _ in range(200)]
    for connection in connections:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
    assert len(client_lines(resp)) >= 200
    assert wait_for(lambda: max(int(line["tot-mem"]) for line in client_lines(resp)
                                if line["cmd"] == "ping") < 4096)
    for connection in connections:
        connection.close()


def test_more_clients_than_maxclients_are_refused(start):
    server = start("--maxclients", "3")
    with server.resp() as first, server.resp() as second:
        # The one that asked whether the server is ready has gone.
        assert wait_for(lambda: len(client_lines(first)) == 2)
        second("PING")
        with server.resp() as third:
            third("PING")
            with connect(server) as fourth:
                assert read_to_end(fourth) == b"-ERR max number of clients reached\r\n"
        assert wait_for(lambda: len(client_lines(first)) == 2)
        with server.resp() as again:
            assert again("PING") == "PONG"


def test_idle_clients_are_closed_after_the_timeout(start):
    server = start("--timeout", "1")
    began = time.monotonic()
    with connect(server) as connection:
        assert read_to_end(connection) == b""
        assert time.monotonic() - began > 0.9


def test_the_output_buffer_limit_closes_a_client(start):
    server = start("--client-output-buffer-limit", "normal 300kb 0 0", "--maxmemory", "256mb")
    with server.resp() as resp, connect(server) as greedy:
        resp("SET", "v", "x" * 200_000)
        greedy.sendall(b"GET v\r\n" * 500)
        assert wait_for(lambda: len(client_lines(resp)) == 1)
    assert "overcoming of output buffer limits" in server.log()


@pytest.mark.parametrize("command", [("HRANDFIELD", "hash"), ("SRANDMEMBER", "set"),
                                     ("ZRANDMEMBER", "zset")], ids=lambda command: command[0])
def test_random_elements_without_end_close_a_client_with_a_limit(start, command):
    server = start("--client-output-buffer-limit", "normal 1mb 0 0", "--maxmemory", "256mb")
    with server.resp() as resp:
        resp("HSET", "hash", "a", "b")
        resp("SADD", "set", "a")
        resp("ZADD", "zset", 1, "a")
        with server.resp() as greedy, pytest.raises(ConnectionError):
            greedy(*command, -999_999_999)
        # Nobody listens to a script's command.
        refused = resp("EVAL", "return redis.call(unpack(ARGV))", 0, *command, -999_999_999)
        assert isinstance(refused, Error) and "OOM" in refused
        resp("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        assert resp(*command, -999_999_999).startswith("OOM")
        assert resp(*command, -3)[:3] == [b"a"] * 3
    assert "overcoming of output buffer limits" in server.log()


def test_a_request_that_never_ends_is_cut_off(start):
    server = start("--client-query-buffer-limit", "1mb", "--maxmemory", "1gb")
    with connect(server) as connection:
        try:
            connection.sendall(b"*2\r\n$3\r\nSET\r\n$100000000\r\n" + b"x" * 8_000_000)
            assert read_to_end(connection) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert "max query buffer length" in server.log()


@pytest.mark.parametrize("piece", [1000, 100_000, 30_000_000])
def test_a_request_above_a_quarter_of_maxmemory_is_refused_unbuffered(start, piece):
    server = start("--maxmemory", "64mb")
    request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$30000000\r\n" + b"y" * 30_000_000 + b"\r\nPING\r\n"
    if piece == 1000:
        request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$17000000\r\n" + b"y" * 17_000_000 + b"\r\nPING\r\n"
    with connect(server) as connection, server.resp() as resp:
        for at in range(0, len(request), piece):
            connection.sendall(request[at:at + piece])
        expected = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n+PONG\r\n"
        received = b""
        while len(received) < len(expected):
            received += connection.recv(1000)
        assert received == expected
        assert max(int(line["tot-mem"]) for line in client_lines(resp)) < 200_000
        assert resp("EXISTS", "k") == 0


def test_a_busy_port_gives_one_clear_line(start):
    first = start()
    second = start("--port", str(first.port), wait=False)
    assert second.wait() == 1
    log = second.log()
    assert (f"Could not create server TCP listening socket 127.0.0.1:{first.port}: "
            "bind: Address already in use") in log
    assert f"Failed listening on port {first.port} (tcp), aborting." in log


def test_a_crash_leaves_a_report(start):
    server = start()
    server.process.send_signal(signal.SIGSEGV)
    assert server.wait() == -signal.SIGSEGV
    log = server.log()
    for text in ("FIRN BUG REPORT START", "crashed by signal: 11", "STACK TRACE", "REGISTERS",
                 "FIRN BUG REPORT END"):
        assert text in log
