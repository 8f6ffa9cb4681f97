"""oom-score-adj: the process's standing with the kernel's out-of-memory killer."""

from harness import Error, Simple

OK = Simple("OK")


def score(server):
    with open(f"/proc/{server.process.pid}/oom_score_adj") as file:
        return int(file.read())


def test_the_score_follows_the_options(start):
    server = start()
    base = score(server)
    with server.resp() as resp:
        assert resp("CONFIG", "SET", "oom-score-adj-values", "10 20 30") == OK
        assert score(server) == base
        assert resp("CONFIG", "SET", "oom-score-adj", "yes") == OK
        assert score(server) == base + 10
        assert resp("CONFIG", "SET", "oom-score-adj-values", "15 20 30") == OK
        assert score(server) == base + 15
        assert resp("CONFIG", "SET", "oom-score-adj", "absolute") == OK
        assert score(server) == 15
        assert resp("CONFIG", "SET", "oom-score-adj", "no") == OK
        assert score(server) == base
        assert isinstance(resp("CONFIG", "SET", "oom-score-adj-values", "2001 0 0"), Error)


def test_the_score_is_set_at_the_start(start):
    server = start("--oom-score-adj", "absolute", "--oom-score-adj-values", "77", "0", "0")
    assert score(server) == 77
