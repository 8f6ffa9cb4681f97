"""GETs of one hot key, one every millisecond, open loop: how a client sees a server that is busy
with something else. The same goes on against an idle redis-server: what the machine takes."""

import benchlib

KEY_PREFIX = "hot:"


class HotGet:
    """A context. `last` and `last_control` are the latencies of the last one in ms, by firn-bench's
    names (p50, p99, p99.9, max); `worst` and `worst_control` the highest p99.9 and max of all."""

    def __init__(self, run, server, control):
        self.run = run
        self.server = server
        self.control = control
        self.worst = {"p99.9": 0.0, "max": 0.0}
        self.worst_control = {"p99.9": 0.0, "max": 0.0}
        self.last, self.last_control = {}, {}
        self.loads = []

    def fill(self):
        for one in (self.server, self.control):
            benchlib.load(self.run, one, "--load", "--keys", 1, "--key-prefix", KEY_PREFIX,
                          "--clients", 1, "--value-size", 64)

    def __enter__(self):
        arguments = ["--clients", 1, "--pipeline", 100_000, "--rate", 1000, "--keys", 1,
                     "--key-prefix", KEY_PREFIX, "--seconds", 7000, "--sliding"]
        self.loads = [benchlib.Load(self.run, one.port, *arguments)
                      for one in (self.server, self.control)]
        return self

    def __exit__(self, kind, *_):
        reports = [one.stop() for one in self.loads]
        if kind is not None:
            return
        self.last, self.last_control = ({name: value / 1000 for name, value in
                                         report["all"]["latency_us"].items()}
                                        for report in reports)
        for last, worst in ((self.last, self.worst), (self.last_control, self.worst_control)):
            for name in worst:
                worst[name] = max(worst[name], last[name])
        lost = sum(report["connection_failures"] + report["all"]["errors"] for report in reports)
        self.run.note("  hot GET each ms", ", ".join(
            f"{name} {self.last[name]:.2f} ms (control {self.last_control[name]:.2f})"
            for name in ("p50", "p99", "p99.9", "max")))
        if lost:
            self.run.right("the probe saw no error", False, f"{lost} errors")
