"""Random sequences of commands to Firn and to redis-server, whose replies must be equal, with keys of
Firn's demoted in between. A sequence has `random` and `command()`; `same(command, ours, theirs)` says
whether two replies count as equal."""

import random

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


def demote_some(connection, keys, generator):
    """Some of the pages of each key go to disk, the root among them or not."""
    return [connection("DEBUG", "DEMOTE-PAGES", key, generator.randrange(4),
                       generator.choice([1, 2, 2, 3, 5])) for key in keys]


def run_steps(sides, sequence, demoted, *, seed, steps, same=equal, rate=0.1):
    """One command at a time; now and then the keys that `demoted()` names, or some of their pages,
    go to disk first."""
    ours, theirs = sides
    tiers = has_tiers(ours)
    history = []
    pages = random.Random(seed)  # of its own: the commands don't depend on what is demoted
    for step in range(steps):
        if tiers and sequence.random.random() < rate:
            keys = demoted()
            if step % 2:
                history.append(["TIER", "DEMOTE"] + keys)
                assert isinstance(ours("TIER", "DEMOTE", *keys), int), (seed, step)
            else:
                history.append(["pages of"] + keys)
                moved = demote_some(ours, keys, pages)
                assert all(isinstance(count, int) for count in moved), (seed, step, moved)
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
    pages = random.Random(batches)
    for batch in range(batches):
        if tiers and batch % 2:
            ours("TIER", "DEMOTE", *keys)
        elif tiers:
            demote_some(ours, keys, pages)
        commands = [sequence.command() for _ in range(size)]
        mine, other = ours.pipeline(commands), theirs.pipeline(commands)
        for command, a, b in zip(commands, mine, other):
            assert same(command, a, b), (
                f"batch {batch}: {command!r:.300}: {a!r:.300} instead of {b!r:.300}")
