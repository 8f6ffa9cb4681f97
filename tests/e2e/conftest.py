import pytest

from harness import Server


@pytest.fixture(scope="module")
def server():
    """One server for a file of tests."""
    instance = Server()
    yield instance
    assert instance.process.poll() is None, f"the server died:\n{instance.log()}"
    instance.remove()


@pytest.fixture
def resp(server):
    """A connection to an empty server that sees raw replies."""
    with server.resp() as connection:
        connection("FLUSHALL")
        yield connection


@pytest.fixture
def client(server):
    """redis-py on an empty server."""
    with server.redis() as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def start():
    """Starts servers that end with the test."""
    servers = []

    def begin(*args, **kwargs):
        instance = Server(*args, wait=None, **{k: v for k, v in kwargs.items() if k != "wait"})
        servers.append(instance)
        return instance.start(wait=kwargs.get("wait", True))

    yield begin
    for instance in servers:
        instance.remove()
