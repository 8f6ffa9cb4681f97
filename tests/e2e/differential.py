"""Random sequences of commands to Firn and to redis-server, whose replies must be equal, with keys of
Firn's demoted in between. A sequence has `random` and `command()`; `same(command, ours, theirs)` says
whether two replies count as equal."""

import pytest

from harness import Error


def has_tiers(connection):
    return not isinstance(connection("TIER", "HELP"), Error)


def emptied(pair):
    """Connections to both servers, which hold nothing any more."""
    connections = [server.resp() for server in pair]
    for connection in connections:
        assert connection("FLUSHALL") == "OK"
    return connections


def equal(_command, mine, other):
    return mine == other


def run_steps(sides, sequence, demoted, *, seed, steps, same=equal, rate=0.1):
    """One command at a time; now and then the keys that `demoted()` names go to disk first."""
    ours, theirs = sides
    tiers = has_tiers(ours)
    history = []
    for step in range(steps):
        if tiers and sequence.random.random() < rate:
            keys = demoted()
            history.append(["TIER", "DEMOTE"] + keys)
            assert isinstance(ours("TIER", "DEMOTE", *keys), int), (seed, step)
        command = sequence.command()
        history.append(command)
        mine, other = ours(*command), theirs(*command)
        if not same(command, mine, other):
            last = "\n".join(repr(line)[:200] for line in history[-25:])
            pytest.fail(f"seed {seed}, step {step}: {command!r:.300}\nours:   {mine!r:.1500}\n"
                        f"theirs: {other!r:.1500}\nthe last commands:\n{last}")


def run_pipelines(sides, sequence, keys, *, batches=40, size=50, same=equal):
    """Whole pipelines in flight, so that fetches from disk overlap."""
    ours, theirs = sides
    tiers = has_tiers(ours)
    for batch in range(batches):
        if tiers:
            ours("TIER", "DEMOTE", *keys)
        commands = [sequence.command() for _ in range(size)]
        mine, other = ours.pipeline(commands), theirs.pipeline(commands)
        for command, a, b in zip(commands, mine, other):
            assert same(command, a, b), (
                f"batch {batch}: {command!r:.300}: {a!r:.300} instead of {b!r:.300}")
