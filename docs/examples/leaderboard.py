#!/usr/bin/env python3
"""A leaderboard: points, ranks, and a player's neighbours. Of a board larger than RAM the pages
that are looked at are in RAM, usually its top."""

import sys

import redis


class Leaderboard:
    def __init__(self, client, name):
        self.client = client
        self.key = f"board:{name}"

    def add(self, player, points):
        """The player's points from now on."""
        return self.client.zincrby(self.key, points, player)

    def top(self, count):
        return self.client.zrevrange(self.key, 0, count - 1, withscores=True)

    def rank(self, player):
        """1 for the best; None if there is no such player."""
        rank = self.client.zrevrank(self.key, player)
        return None if rank is None else rank + 1

    def around(self, player, distance):
        rank = self.client.zrevrank(self.key, player)
        if rank is None:
            return []
        return self.client.zrevrange(self.key, max(0, rank - distance), rank + distance,
                                     withscores=True)


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    client.delete("board:week")
    board = Leaderboard(client, "week")
    with client.pipeline(transaction=False) as pipeline:
        for number in range(10_000):
            pipeline.zadd("board:week", {f"player{number}": number})
        pipeline.execute()
    assert board.add("player17", 20_000) == 20_017
    assert board.top(2) == [("player17", 20_017.0), ("player9999", 9999.0)]
    assert board.rank("player17") == 1
    assert board.rank("player0") == 10_000
    assert board.rank("nobody") is None

    # On disk the ranks are the same; a read brings the pages that it needs.
    client.execute_command("TIER", "DEMOTE", "board:week")
    assert board.around("player5000", 1) == [
        ("player5001", 5001.0), ("player5000", 5000.0), ("player4999", 4999.0)]
    client.delete("board:week")
    print("leaderboard: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
