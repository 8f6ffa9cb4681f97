"""What COMMAND tells about commands agrees with redis-server, and with what the commands do."""

import pytest

from harness import Error, Server, redis_server

# Differences between Redis 7.0, which the oracle may be, and 7.2: not compared.
CHANGED = {"cluster", "command|getkeys", "command|getkeysandflags", "config|resetstat",
           "config|rewrite", "msetnx", "randomkey", "scan", "wait",
           # Allowed in scripts since 7.2.
           "blmove", "blpop", "brpop", "brpoplpush", "bzpopmax", "bzpopmin",
           # With WITHSCORE since 7.2, with NOVALUES since 7.4.
           "zrank", "zrevrank", "hscan",
           # Other tips, or other arguments, since 7.2.
           "latency|reset", "client|setname", "georadius", "georadiusbymember", "georadius_ro",
           "georadiusbymember_ro"}


@pytest.fixture(scope="module")
def tables():
    theirs = redis_server()
    if theirs is None:
        pytest.skip("redis-server is not installed")
    ours = Server()
    yield ours, theirs
    ours.remove()
    theirs.remove()


def rows(server):
    """By full name: the reply of COMMAND INFO."""
    with server.resp() as client:
        found = {}

        def add(row):
            found[row[0].decode()] = row
            for sub in row[9]:
                add(sub)

        for row in client("COMMAND"):
            add(row)
        return found


def test_rows_agree(tables):
    ours, theirs = (rows(server) for server in tables)
    common = sorted(set(ours) & set(theirs) - CHANGED)
    assert len(common) > 100
    differences = []

    def compare(name, what, mine, other):
        if mine != other:
            differences.append(f"{name}: {what} {mine} instead of {other}")

    for name in common:
        mine, other = ours[name], theirs[name]
        compare(name, "arity", mine[1], other[1])
        compare(name, "flags", sorted(mine[2]), sorted(other[2]))
        compare(name, "key positions", mine[3:6], other[3:6])
        compare(name, "ACL categories", sorted(mine[6]), sorted(other[6]))
        compare(name, "tips", sorted(mine[7]), sorted(other[7]))
        compare(name, "key specifications", len(mine[8]), len(other[8]))
        for spec, other_spec in zip(mine[8], other[8]):
            spec, other_spec = (dict(zip(s[::2], s[1::2])) for s in (spec, other_spec))
            compare(name, "key flags", sorted(spec[b"flags"]), sorted(other_spec[b"flags"]))
            for part in (b"begin_search", b"find_keys"):
                compare(name, part, spec[part], other_spec[part])
    assert not differences, "\n".join(differences)


def test_documentation_has_the_same_shape(tables):
    def documents(server):
        with server.resp() as client:
            flat = client("COMMAND", "DOCS")
            return {name.decode(): dict(zip(doc[::2], doc[1::2]))
                    for name, doc in zip(flat[::2], flat[1::2])}

    def shape(arguments):
        result = []
        for argument in arguments:
            argument = dict(zip(argument[::2], argument[1::2]))
            result.append((argument[b"name"], argument[b"type"], argument.get(b"token"),
                           sorted(argument.get(b"flags", [])),
                           shape(argument.get(b"arguments", []))))
        return result

    ours, theirs = (documents(server) for server in tables)
    for name in sorted(set(ours) & set(theirs) - CHANGED):
        mine, other = ours[name], theirs[name]
        assert mine[b"summary"] and mine[b"complexity"], name
        assert mine[b"group"] == other[b"group"], name
        assert mine[b"since"] == other[b"since"], name
        if b"arguments" in mine or b"arguments" in other:
            # Names of some arguments changed after 7.0; how many there are did not.
            assert len(shape(mine[b"arguments"])) == len(shape(other[b"arguments"])), name


@pytest.mark.parametrize("command", [
    ("SET", "k", "v", "EX", "1"), ("MSET", "a", "1", "b", "2"), ("COPY", "a", "b"),
    ("OBJECT", "ENCODING", "k"), ("LCS", "a", "b", "IDX"), ("DEL", "a", "b", "c"),
    ("MEMORY", "USAGE", "k"), ("SET", "k"), ("PING", "x"), ("NOSUCHCOMMAND", "x")])
def test_getkeys_agrees(tables, command):
    ours, theirs = (server.resp() for server in tables)
    with ours, theirs:
        for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
            assert ours("COMMAND", sub, *command) == theirs("COMMAND", sub, *command)


def test_every_command_checks_its_arity(tables):
    """A call with too few arguments is an arity error, whatever the command is."""
    with tables[0].resp() as client:
        for name, row in rows(tables[0]).items():
            words = name.split("|")
            least = abs(row[1])
            if least <= len(words):
                continue
            reply = client(*words)
            assert isinstance(reply, Error), name
            assert reply == f"ERR wrong number of arguments for '{name}' command", (name, reply)


def test_documentation_shows_arguments_as_redis_cli_hints_at_them(resp):
    def walk(arguments):
        for flat in arguments:
            argument = dict(zip(flat[::2], flat[1::2]))
            yield argument
            yield from walk(argument.get(b"arguments", []))

    def shown(*command):
        (_, document) = resp("COMMAND", "DOCS", *command)
        return list(walk(dict(zip(document[::2], document[1::2]))[b"arguments"]))

    radius = {argument[b"name"]: argument for argument in shown("GEORADIUS")}
    assert radius[b"storekey"][b"display_text"] == b"key"
    assert radius[b"storedistkey"][b"display_text"] == b"key"
    assert radius[b"radius"][b"display_text"] == b"radius"
    assert [radius[unit][b"token"] for unit in (b"m", b"km", b"ft", b"mi")] == \
        [b"M", b"KM", b"FT", b"MI"]
    migrate = {argument[b"name"]: argument for argument in shown("MIGRATE")}
    assert migrate[b"auth"][b"display_text"] == b"password"
    assert migrate[b"keys"][b"display_text"] == b"key"
    flat = resp("COMMAND", "DOCS")
    for document in flat[1::2]:
        for argument in walk(dict(zip(document[::2], document[1::2])).get(b"arguments", [])):
            token = argument.get(b"token", b"")
            assert token == token.upper()
