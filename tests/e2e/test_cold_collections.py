"""Collections that are larger than RAM: what a command reads of them."""

import random
import re

ELEMENTS = 1_500_000
COMMANDS = 2000


def fetches(resp):
    return int(re.search(rb"\bfetches:(\d+)", resp("INFO", "tiering"))[1])


def test_inner_nodes_stay_while_leaves_come_and_go(start):
    """A command that moves a member reads the three leaves that it changes, of which some are in
    RAM, and hardly ever the way to them, however many changed pages wait to leave RAM."""
    server = start("--maxmemory", "48mb", "--appendfsync", "everysec")
    with server.resp() as resp:
        member = "member:{:07d}:".format
        for first in range(0, ELEMENTS, 500):
            assert resp("ZADD", "zset", *(x for i in range(first, first + 500)
                                          for x in (i, member(i) + "x" * 60))) == 500
        resp("TIER", "DEMOTE", "zset")
        places = random.Random(4).sample(range(ELEMENTS), 2 * COMMANDS)
        for i in places[:COMMANDS]:
            assert resp("ZADD", "zset", ELEMENTS - i, member(i) + "x" * 60) == 0
        before = fetches(resp)
        for i in places[COMMANDS:]:
            assert resp("ZADD", "zset", ELEMENTS - i, member(i) + "x" * 60) == 0
        assert (fetches(resp) - before) / COMMANDS <= 2.9
