"""Encrypted connections: certificates, versions, ciphers, reload, and peers that misbehave."""
import os
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from harness import RespClient, free_port, wait_for

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")


def openssl(*arguments, **kwargs):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, **kwargs)


class Certificates:
    """An authority, and a server's and a client's certificate that it has signed."""

    def __init__(self, directory):
        self.directory = str(directory)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"), "-days",
                "2", "-subj", "/CN=Test authority")
        for name in ("server", "client", "server2"):
            self.sign(name)
        openssl("ec", "-in", self.path("server.key"), "-aes128", "-passout", "pass:hidden",
                "-out", self.path("locked.key"))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-keyout", self.path("stranger.key"), "-out",
                self.path("stranger.crt"), "-days", "2", "-subj", "/CN=stranger")

    def path(self, name):
        return os.path.join(self.directory, name)

    def sign(self, name, subject=None):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"), "-subj",
                "/CN=" + (subject or name))
        openssl("x509", "-req", "-in", self.path(name + ".csr"), "-CA", self.path("ca.crt"),
                "-CAkey", self.path("ca.key"), "-CAcreateserial", "-out",
                self.path(name + ".crt"), "-days", "2")

    def sign_with_nul(self, name, subject):
        """A subject with NUL, which openssl takes from nobody: written over an @, signed anew."""
        self.sign(name, subject.replace("\0", "@"))
        with open(self.path(name + ".crt")) as file:
            signed = ssl.PEM_cert_to_DER_cert(file.read())
        begin = contents(signed, 0)[0]
        said_end = contents(signed, begin)[1]
        algorithm_end = contents(signed, said_end)[1]
        said = signed[begin:said_end].replace(subject.replace("\0", "@").encode(), subject.encode())
        openssl("dgst", "-sha256", "-sign", self.path("ca.key"), "-out", self.path("signature"),
                input=said)
        with open(self.path("signature"), "rb") as file:
            signature = b"\0" + file.read()
        body = (said + signed[said_end:algorithm_end] + b"\x03" + bytes([len(signature)]) + signature)
        with open(self.path(name + ".crt"), "w") as file:
            file.write(ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(body).to_bytes(2, "big") + body))


def contents(der, at):
    """Where what is in the element at `at` begins and ends."""
    size, begin = der[at + 1], at + 2
    if size >= 128:
        begin += size - 128
        size = int.from_bytes(der[at + 2:begin], "big")
    return begin, begin + size


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Encrypted:
    """A server with a TLS port beside its plain one."""

    def __init__(self, start, certificates, *options):
        self.certificates = certificates
        self.port = free_port()
        self.server = start(
            "--tls-port", self.port, "--tls-cert-file", certificates.path("server.crt"),
            "--tls-key-file", certificates.path("server.key"), "--tls-ca-cert-file",
            certificates.path("ca.crt"), *options)

    def context(self, name="client", change=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.certificates.path("ca.crt"))
        if name:
            context.load_cert_chain(self.certificates.path(name + ".crt"),
                                    self.certificates.path(name + ".key"))
        if change:
            change(context)
        return context

    def connect(self, name="client", change=None):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        return self.context(name, change).wrap_socket(plain)

    def ping(self, *arguments):
        with self.connect(*arguments) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100)

    def refuses(self, *arguments):
        try:
            return self.ping(*arguments) == b""
        except (ssl.SSLError, ConnectionError):
            return True


@pytest.fixture
def encrypted(start, certificates):
    return lambda *options: Encrypted(start, certificates, *options)


@pytest.fixture(params=["io_uring", "threads"])
def backend(request):
    return request.param


def test_commands_and_long_replies(encrypted, backend):
    server = encrypted("--io-backend", backend)
    import redis
    client = redis.Redis(port=server.port, ssl=True, ssl_ca_certs=server.certificates.path("ca.crt"),
                         ssl_certfile=server.certificates.path("client.crt"),
                         ssl_keyfile=server.certificates.path("client.key"),
                         ssl_check_hostname=False, socket_timeout=120)
    assert client.ping()
    for size in (0, 1, 16383, 16384, 16385, 100_000, 5_000_000):
        value = os.urandom(size)
        assert client.set("k", value)
        assert client.get("k") == value
    with client.pipeline(transaction=False) as pipeline:
        for i in range(5000):
            pipeline.set(f"key:{i}", i)
            pipeline.get(f"key:{i}")
        replies = pipeline.execute()
    assert replies[1::2] == [str(i).encode() for i in range(5000)]
    assert client.client_list()[0]["addr"].startswith("127.0.0.1:")
    # The plain port is there too.
    with server.server.resp() as plain:
        assert plain("GET", "key:7") == b"7"


def test_many_connections_at_once(encrypted, backend):
    server = encrypted("--io-backend", backend)
    connections = [server.connect() for _ in range(60)]
    for i, connection in enumerate(connections):
        connection.sendall(b"SET k%d v%d\r\nGET k%d\r\n" % (i, i, i))
    for i, connection in enumerate(connections):
        wanted = b"+OK\r\n$%d\r\nv%d\r\n" % (len(f"v{i}"), i)
        got = b""
        while len(got) < len(wanted):
            got += connection.recv(100)
        assert got == wanted
        connection.close()
    with server.server.resp() as plain:
        wait_for(lambda: b"connected_clients:1\r\n" in plain("INFO", "clients"))


def test_bytes_one_by_one_and_a_reader_that_is_slow(encrypted, backend):
    server = encrypted("--io-backend", backend)
    with server.connect() as connection:
        for byte in b"*1\r\n$4\r\nPING\r\n":
            connection.sendall(bytes([byte]))
        assert connection.recv(100) == b"+PONG\r\n"
        with server.server.resp() as plain:
            plain("SET", "big", "x" * 3_000_000)
        connection.sendall(b"GET big\r\n" * 10)
        time.sleep(0.3)
        got = 0
        while got < 10 * (3_000_000 + len("$3000000\r\n\r\n")):
            chunk = connection.recv(65536)
            assert chunk
            got += len(chunk)
        connection.sendall(b"QUIT\r\n")
        assert connection.recv(100) == b"+OK\r\n"
        assert connection.recv(100) == b""


def test_a_client_without_a_certificate_is_refused(encrypted):
    server = encrypted()
    assert server.ping() == b"+PONG\r\n"
    assert server.refuses(None)
    assert server.refuses("stranger")
    assert "Error accepting a client connection" in server.server.log()


def test_whether_clients_must_show_a_certificate(encrypted):
    server = encrypted("--tls-auth-clients", "no")
    assert server.ping(None) == b"+PONG\r\n"
    with server.server.resp() as plain:
        assert plain("CONFIG", "SET", "tls-auth-clients", "optional") == "OK"
        assert server.ping(None) == b"+PONG\r\n"
        assert server.refuses("stranger")
        assert plain("CONFIG", "SET", "tls-auth-clients", "yes") == "OK"
        assert server.refuses(None)
        assert server.ping() == b"+PONG\r\n"


def test_versions_and_ciphers(encrypted):
    server = encrypted("--tls-protocols", "TLSv1.2")

    def only_13(context):
        context.minimum_version = ssl.TLSVersion.TLSv1_3

    assert server.refuses("client", only_13)
    with server.connect() as connection:
        assert connection.version() == "TLSv1.2"
    with server.server.resp() as plain:
        assert plain("CONFIG", "SET", "tls-protocols", "TLSv1.3") == "OK"
        with server.connect() as connection:
            assert connection.version() == "TLSv1.3"
        assert plain("CONFIG", "SET", "tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256") == "OK"
        with server.connect() as connection:
            assert connection.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
        for option, value in (("tls-protocols", "TLSv9"), ("tls-ciphers", "nonsense"),
                              ("tls-ciphersuites", "nonsense"), ("tls-cert-file", "/nosuch"),
                              ("tls-key-file", server.certificates.path("client.key")),
                              ("tls-dh-params-file", "/nosuch"), ("tls-ca-cert-file", "")):
            before = plain("CONFIG", "GET", option)
            assert plain("CONFIG", "SET", option, value).startswith("ERR"), option
            assert plain("CONFIG", "GET", option) == before
        assert server.ping() == b"+PONG\r\n"
        assert plain("CONFIG", "SET", "tls-protocols", "TLSv1.2", "tls-ciphers",
                     "ECDHE-ECDSA-AES128-GCM-SHA256") == "OK"
        with server.connect() as connection:
            assert connection.cipher()[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert plain("CONFIG", "SET", "tls-session-caching", "no") == "OK"
        assert server.ping() == b"+PONG\r\n"


def test_sessions_are_resumed(encrypted):
    server = encrypted("--tls-protocols", "TLSv1.2")
    context = server.context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port))) as first:
        session = first.session
        assert not first.session_reused
    plain = socket.create_connection(("127.0.0.1", server.port))
    with context.wrap_socket(plain, session=session) as second:
        assert second.session_reused


def test_a_new_certificate_without_a_restart(encrypted):
    server = encrypted()

    def subject():
        with server.connect() as connection:
            return connection.getpeercert()["subject"][0][0][1]

    with server.connect() as kept, server.server.resp() as plain:
        assert subject() == "server"
        assert plain("CONFIG", "SET", "tls-cert-file", server.certificates.path("server2.crt"),
                     "tls-key-file", server.certificates.path("server2.key")) == "OK"
        assert subject() == "server2"
        kept.sendall(b"PING\r\n")
        assert kept.recv(100) == b"+PONG\r\n"


def test_a_key_with_a_password(encrypted):
    path = encrypted().certificates.path("locked.key")
    server = encrypted("--tls-key-file", path, "--tls-key-file-pass", "hidden")
    assert server.ping() == b"+PONG\r\n"


def test_the_port_is_opened_and_closed_by_config_set(encrypted):
    server = encrypted()
    port = server.port
    with server.server.resp() as plain:
        assert plain("CONFIG", "SET", "tls-port", "0") == "OK"
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        server.port = free_port()
        assert plain("CONFIG", "SET", "tls-port", server.port) == "OK"
        assert server.ping() == b"+PONG\r\n"


def test_no_plain_port(start, certificates):
    server = Encrypted(lambda *options: start(*options, "--port", "0", wait=None), certificates)
    wait_for(lambda: "Ready to accept connections tls" in server.server.log())
    assert server.ping() == b"+PONG\r\n"
    with pytest.raises(OSError):
        RespClient(server.server.port)


@pytest.mark.parametrize("options", [
    ["--tls-cert-file", "/nosuch"], ["--tls-key-file", ""], ["--tls-ca-cert-file", ""],
    ["--tls-key-file-pass", "wrong", "--tls-key-file", "LOCKED"],
])
def test_a_configuration_that_can_t_work_stops_the_start(start, certificates, options):
    options = [o if o != "LOCKED" else certificates.path("locked.key") for o in options]
    server = Encrypted(lambda *all_options: start(*all_options, wait=None), certificates, *options)
    assert server.server.wait() != 0


def test_redis_cli(encrypted):
    if not shutil.which("redis-cli"):
        pytest.skip("no redis-cli")
    server = encrypted()
    output = subprocess.run(
        ["redis-cli", "-p", str(server.port), "--tls", "--cacert",
         server.certificates.path("ca.crt"), "--cert", server.certificates.path("client.crt"),
         "--key", server.certificates.path("client.key"), "ECHO", "hello"],
        capture_output=True, text=True, timeout=120)
    assert output.stdout == "hello\n", output.stderr


def test_peers_that_send_no_handshake(encrypted, backend):
    server = encrypted("--io-backend", backend)
    kept = server.connect()
    state = 1
    for length in (0, 1, 5, 100, 5000, 300_000):
        for _ in range(4):
            garbage = bytearray()
            for _ in range(length):
                state = (state * 1103515245 + 12345) % 2**31
                garbage.append(state >> 16 & 255)
            for prefix in (b"", b"PING\r\n", b"\x16\x03\x01\x40\x00", b"\x15\x03\x01\x00\x02\x02\x00"):
                with socket.create_connection(("127.0.0.1", server.port), timeout=120) as bad:
                    try:
                        bad.sendall(prefix + bytes(garbage))
                        bad.shutdown(socket.SHUT_WR)
                        while bad.recv(65536):
                            pass
                    except OSError:
                        pass
    # In the middle of a connection, too.
    for _ in range(5):
        broken = server.connect()
        descriptor = broken.detach()
        with socket.socket(fileno=descriptor) as raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(range(32)))
            raw.settimeout(120)
            try:
                while raw.recv(65536):
                    pass
            except OSError:
                pass
    kept.sendall(b"PING\r\n")
    assert kept.recv(100) == b"+PONG\r\n"
    kept.close()
    with server.server.resp() as plain:
        wait_for(lambda: b"connected_clients:1\r\n" in plain("INFO", "clients"))


def test_clients_are_ended_amid_a_handshake(encrypted, backend):
    server = encrypted("--io-backend", backend)
    kept = server.connect()
    kept.sendall(b"PING\r\n")
    assert kept.recv(100) == b"+PONG\r\n"
    greeting = ssl.MemoryBIO()
    handshake = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), greeting,
                                                      server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    hello = greeting.read()
    with server.server.resp() as plain:
        for half in (0, 1, 5, len(hello) // 2, len(hello) - 1, len(hello)):
            half_way = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
            for connection in half_way:
                connection.sendall(hello[:half])
            listed = plain("CLIENT", "LIST").decode()
            for connection in half_way:
                address = f"127.0.0.1:{connection.getsockname()[1]}"
                plain("CLIENT", "KILL", "ADDR", address)
                plain("CLIENT", "KILL", address)
            for line in listed.splitlines():
                if "cmd=NULL" in line:
                    plain("CLIENT", "KILL", "ID", line.split()[0].split("=")[1])
            for connection in half_way:
                try:
                    connection.sendall(hello[half:])
                except OSError:
                    pass
                connection.close()
            assert plain("PING") == "PONG"
        kept.sendall(b"PING\r\n")
        assert kept.recv(100) == b"+PONG\r\n"
        kept.close()
        assert wait_for(lambda: b"connected_clients:1\r\n" in plain("INFO", "clients"))


def test_a_peer_that_says_nothing_is_disconnected(encrypted):
    server = encrypted()
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as silent:
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - began > 5
    assert "no handshake in time" in server.server.log()


def test_a_name_in_a_certificate_logs_nobody_in(encrypted):
    server = encrypted()
    server.certificates.sign("admin")
    server.certificates.sign_with_nul("nul", "admin\0evil")
    with open(server.certificates.path("nul.crt")) as file:
        assert b"admin\0evil" in ssl.PEM_cert_to_DER_cert(file.read())
    with server.server.resp() as plain:
        assert plain("ACL", "SETUSER", "admin", "on", "nopass", "+@all", "~*") == "OK"
        assert plain("CONFIG", "SET", "requirepass", "pw") == "OK"
    for name in ("client", "admin", "nul"):
        assert server.ping(name).startswith(b"-NOAUTH"), name


def test_a_password_over_tls(encrypted):
    server = encrypted()
    with server.connect() as connection, server.server.resp() as plain:
        plain("CONFIG", "SET", "requirepass", "pw")
        with server.connect() as other:
            other.sendall(b"PING\r\nAUTH pw\r\nPING\r\n")
            got = b""
            while not got.endswith(b"+PONG\r\n"):
                got += other.recv(1000)
            assert got == b"-NOAUTH Authentication required.\r\n+OK\r\n+PONG\r\n"
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PONG\r\n"
