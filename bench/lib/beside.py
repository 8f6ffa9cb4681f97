"""Server CPU an operation beside redis-server, with pipelines: what several scripts share."""

import os
import statistics

import benchlib
import pipes

# Both servers: nothing is written, or all changes are.
PERSISTENCE = {
    "off": {"appendonly": "no", "save": ""},
    "on": {"appendonly": "yes", "save": "", "appendfsync": "everysec"},
}
ONLY_REDIS = {"auto-aof-rewrite-percentage": 0}
ONLY_FIRN = {"maxmemory": 0}


class Comparison:
    """Tests that run on both servers in turn, some rounds; the median counts."""

    def __init__(self, run, persistence="off", depth=pipes.DEPTH, connections=1):
        self.run = run
        self.connections = connections
        self.persistence = persistence
        self.depth = depth
        self.samples = {}

    def rounds(self, count, tests, prepare=None, check=None):
        """`tests()` gives (name, commands, lines of a reply) in the order in which they run;
        `prepare` and `check` are called with a connection before and after."""
        for number in range(count):
            for name in ("firn", "redis") if number % 2 == 0 else ("redis", "firn"):
                self._round(name, tests, prepare, check)

    def _round(self, name, tests, prepare, check):
        run = self.run
        config = PERSISTENCE[self.persistence] | (ONLY_FIRN if name == "firn" else ONLY_REDIS)
        server = run.server(None if name == "firn" else run.options.redis,
                            f"{name}-{len(os.listdir(run.directory))}", config=config)
        server.start()
        if prepare is not None:
            with server.resp() as resp:
                prepare(resp)
        pipe = pipes.Pipes(server.port, self.connections)
        for test, commands, lines in tests():
            # What the one before has left to do is not this one's.
            benchlib.settle(server, quiet_seconds=0.5, limit_seconds=10)
            before = benchlib.cpu_seconds(server.pid)
            pipe.run(commands, lines, self.depth)
            cpu = (benchlib.cpu_seconds(server.pid) - before) * 1e6 / len(commands)
            self.samples.setdefault(test, {}).setdefault(name, []).append(cpu)
        if check is not None:
            with server.resp() as resp:
                check(name, resp)
        pipe.close()
        server.kill()

    def median(self, test, name):
        return statistics.median(self.samples[test][name])

    def ratio(self, *tests):
        ours, theirs = (sum(self.median(test, name) for test in tests)
                        for name in ("firn", "redis"))
        return ours / theirs

    def note_all(self):
        for test in self.samples:
            ours, theirs = self.median(test, "firn"), self.median(test, "redis")
            self.run.note(f"{test}, appendonly {self.persistence}",
                          f"{ours:.2f} us, redis-server {theirs:.2f} us, "
                          f"ratio {ours / theirs:.2f}", [ours, theirs])
