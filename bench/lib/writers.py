"""Writers that know what they were promised: what a server holds after its death must be the state
after some prefix of each writer's operations. Commands of one connection run in order, so that one
prefix must explain all of its keys at once."""

import select
import socket
import time

import benchlib

BATCH = 500
COUNTERS = 50


class Values:
    """Values that name the operation that wrote them, of 20 to `largest` bytes, incompressible."""

    def __init__(self, rng, largest):
        self.rng = rng
        self.largest = largest
        self.noise = rng.randbytes(1 << 20)

    def make(self, writer, operation):
        head = b"%d:%d:" % (writer, operation)
        # Mostly small: a few large ones fill the pages, the small ones give the operations.
        size = int(self.largest ** self.rng.random())
        at = self.rng.randrange(len(self.noise) - size)
        return head + self.noise[at:at + size]


class Verdict:
    """`wrong`: what no loss explains. `lost`: of the acknowledged operations, how many are missing;
    `first_lost`: when the first of these was acknowledged."""

    def __init__(self):
        self.wrong = []
        self.lost = 0
        self.first_lost = None


class Writer:
    """One connection. `state` is what the last check found; `operations` what came after it, as
    (number, changes, when it was acknowledged or None), changes as ((key, value or None), ...)."""

    def __init__(self, number, keys, values, depth):
        self.number = number
        self.keys = keys
        self.values = values
        self.depth = depth
        self.state = {}
        self.newest = {}
        self.operations = []
        self.answered = 0  # of the operations
        self.issued = 0
        self.acknowledged = 0
        self.last_reply = 0
        self.socket = None
        self.buffer = b""
        self.refused = []
        self.refused_before = 0  # this connection

    def connect(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.refused_before = len(self.refused)

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    @property
    def waits(self):
        return self.answered < len(self.operations)

    @property
    def goes_on(self):
        return len(self.refused) == self.refused_before

    def touched(self):
        return {key for _, changes, _ in self.operations for key, _ in changes}

    def all_keys(self):
        return ([b"w%d:%d" % (self.number, i) for i in range(self.keys)]
                + [b"w%d:n%d" % (self.number, i) for i in range(COUNTERS)])

    def _current(self, key):
        return self.newest[key] if key in self.newest else self.state.get(key)

    def _key(self):
        return b"w%d:%d" % (self.number, self.values.rng.randrange(self.keys))

    def _next(self):
        """(command, changes)"""
        rng = self.values.rng
        kind = rng.random()
        if kind < 0.15:
            key = b"w%d:n%d" % (self.number, rng.randrange(COUNTERS))
            number = int(self._current(key) or 0) + 1
            return (b"INCR", key), ((key, b"%d" % number),)
        key = self._key()
        if kind < 0.25:
            return (b"DEL", key), ((key, None),)
        value = self.values.make(self.number, self.issued)
        before = self._current(key)
        if kind < 0.35 and (before is None or len(before) < 4 * self.values.largest):
            return (b"APPEND", key, value), ((key, (before or b"") + value),)
        if kind < 0.45:
            other = self._key()
            return (b"MSET", key, value, other, value), ((key, value), (other, value))
        return (b"SET", key, value), ((key, value),)

    def send(self):
        out = []
        for _ in range(self.values.rng.randint(1, self.depth)):
            command, changes = self._next()
            self.issued += 1
            self.operations.append((self.issued, changes, None))
            self.newest.update(changes)
            out.append(benchlib.encode(*command))
        try:
            self.socket.sendall(b"".join(out))
        except OSError:
            pass

    def receive(self):
        """Takes the replies that came; False at the connection's end."""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            return False
        if not data:
            return False
        now = time.monotonic()
        lines = (self.buffer + data).split(b"\r\n")
        self.buffer = lines.pop()
        for line in lines:
            if self.answered == len(self.operations):
                raise RuntimeError(f"a reply that nobody waits for: {line!r} of {lines!r:.2000}")
            operation, changes, _ = self.operations[self.answered]
            if line.startswith((b"+OK", b":")):
                self.operations[self.answered] = (operation, changes, now)
                self.acknowledged += 1
                self.last_reply = now
            else:
                self.refused.append((operation, line))
                self.operations[self.answered] = (operation, (), None)
            self.answered += 1
        return True

    def verify(self, found):
        """Compares the keys of `found`, which are all that were touched and any others, with what
        the operations made of them; takes what is there as the new state."""
        verdict = Verdict()
        touched = self.touched()
        verdict.wrong = [f"writer {self.number} key {key.decode()}: expected "
                         f"{brief(self.state.get(key))}, found {brief(value)}"
                         for key, value in found.items()
                         if key not in touched and value != self.state.get(key)]
        prefix = self._explaining_prefix({key: found[key] for key in touched})
        if prefix is None:
            verdict.wrong.append(f"writer {self.number}: no prefix of its {len(self.operations)} "
                                 f"operations, {self.answered} of them answered, explains its keys")
        for _, _, at in self.operations[prefix or 0:]:
            if at is not None:
                verdict.lost += 1
                verdict.first_lost = verdict.first_lost or at
        for key, value in found.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.operations = []
        self.answered = 0
        self.newest = {}
        return verdict

    def _explaining_prefix(self, found):
        """The longest: operations need not change anything."""
        expected = {key: self.state.get(key) for key in found}
        differ = sum(expected[key] != value for key, value in found.items())
        answer = 0 if differ == 0 else None
        for count, (_, changes, _) in enumerate(self.operations, 1):
            for key, value in changes:
                differ -= expected[key] != found[key]
                expected[key] = value
                differ += value != found[key]
            if differ == 0:
                answer = count
        return answer


def brief(value):
    return "nothing" if value is None else f"{len(value)} bytes {value[:24]!r}"


class Session:
    """All writers at work on one life of the server."""

    def __init__(self, server, writers):
        self.server = server
        self.writers = writers
        self.acknowledged_before = sum(writer.acknowledged for writer in writers)
        for writer in writers:
            writer.connect(server.port)
            writer.send()
        self.by_socket = {writer.socket: writer for writer in writers}

    def run(self, seconds, may_end=False):
        """Writes; `may_end`: until the server's end at the latest."""
        end_at = time.monotonic() + seconds
        while self.by_socket and (now := time.monotonic()) < end_at:
            for one in self._readable(end_at - now):
                writer = self.by_socket[one]
                if not writer.receive():
                    del self.by_socket[one]
                    if not may_end:
                        raise RuntimeError("the server dropped a writer:\n"
                                           + self.server.log_tail())
                elif not writer.waits and writer.goes_on:
                    writer.send()

    def drain(self, patience):
        """Takes the replies that have left the server, up to those connections' ends: they are
        acknowledgements too. Ends when none comes for so many seconds."""
        while self.by_socket:
            readable = self._readable(patience)
            if not readable:
                return
            for one in readable:
                if not self.by_socket[one].receive():
                    del self.by_socket[one]

    def kill(self):
        """Returns the number of operations acknowledged."""
        self.server.signal_kill()
        self.drain(30)
        for writer in self.writers:
            writer.close()
        self.server.kill()
        return sum(writer.acknowledged for writer in self.writers) - self.acknowledged_before

    def _readable(self, seconds):
        return select.select(list(self.by_socket), [], [], max(0.0, min(seconds, 30)))[0]


def read_back(resp, keys):
    found = {}
    for at in range(0, len(keys), BATCH):
        part = keys[at:at + BATCH]
        found.update(zip(part, resp("MGET", *part)))
    return found


def verify_all(server, writers, everything):
    """The verdicts of all writers in one. Reads all keys, or those touched and a sample of the
    others."""
    whole = Verdict()
    with server.resp() as resp:
        for writer in writers:
            keys = writer.all_keys()
            if not everything:
                keys = list(writer.touched()
                            | set(writer.values.rng.sample(keys, min(200, len(keys)))))
            verdict = writer.verify(read_back(resp, keys))
            whole.wrong += verdict.wrong
            whole.lost += verdict.lost
            if verdict.first_lost is not None:
                whole.first_lost = min(verdict.first_lost, whole.first_lost or verdict.first_lost)
        size = resp("DBSIZE")
    expected = sum(len(writer.state) for writer in writers)
    if size != expected:
        whole.wrong.append(f"DBSIZE is {size}, the keys are {expected}")
    return whole
