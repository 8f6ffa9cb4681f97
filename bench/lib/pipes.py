"""Connections that keep a server busy with pipelines, at little cost to the load."""

import time

import benchlib

DEPTH = 32


class Pipes:
    """Connections of which each sends DEPTH commands at once, and then awaits their replies. These
    are told by their lines alone: nothing with a line end in it may come back."""

    def __init__(self, port, connections=1):
        self.sockets = [benchlib.Resp(port, timeout=600).socket for _ in range(connections)]

    def close(self):
        for one in self.sockets:
            one.close()

    def run(self, commands, lines, depth=DEPTH):
        """All commands; each reply has so many lines. With one connection they run in order.
        Returns the seconds it took."""
        chunks = [commands[begin:begin + depth] for begin in range(0, len(commands), depth)]
        chunks = [(b"".join(chunk), lines * len(chunk)) for chunk in chunks]
        began = time.monotonic()
        for begin in range(0, len(chunks), len(self.sockets)):
            some = list(zip(self.sockets, chunks[begin:begin + len(self.sockets)]))
            for one, (request, _) in some:
                one.sendall(request)
            for one, (_, expected) in some:
                self._await(one, expected)
        return time.monotonic() - began

    @staticmethod
    def _await(one, lines):
        while lines > 0:
            data = one.recv(1 << 20)
            if not data or data[:1] == b"-":
                raise RuntimeError(f"reply {data[:200]!r}")
            lines -= data.count(b"\n")
