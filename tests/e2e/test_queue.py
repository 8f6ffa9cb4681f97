"""A job queue under SIGKILL with `appendfsync always`, with a backlog of twenty times maxmemory: every
job is in exactly one place, whatever happens. Producers RPUSH; consumers take jobs with BLPOP, where
a job whose reply is lost in a kill is lost, or with LMOVE and BLMOVE through a processing list, where
none is."""

import os
import random
import threading
import time

from harness import Error, RespClient

MAXMEMORY = int(os.environ.get("FIRN_QUEUE_MAXMEMORY_MB", "16")) << 20
BACKLOG = 20 * MAXMEMORY
LARGEST_JOB = 40_000
BATCH = 8
CHUNK = 40  # read at a time: a command may have a quarter of the memory
POP, MOVE = "jobs:pop", "jobs:move"


def job_id(job):
    return int(job[:job.index(b":")])


class Producer(threading.Thread):
    """Pushes jobs to one queue, numbered as they come, until `until` bytes or the server's end."""

    def __init__(self, port, queue, seed):
        super().__init__()
        self.port, self.queue = port, queue
        self.random = random.Random(seed)
        self.noise = self.random.randbytes(1 << 20)
        self.next = 0
        self.bytes = 0
        self.until = 0
        self.acknowledged = 0  # jobs below this number
        self.unsure = []  # ranges of numbers that were under way in a kill

    def jobs(self):
        made = []
        for _ in range(BATCH):
            size = self.random.randrange(100, LARGEST_JOB)
            at = self.random.randrange(len(self.noise) - size)
            made.append(b"%d:" % self.next + self.noise[at:at + size])
            self.next += 1
        return made

    def produce(self, until):
        """Runs once; the thread is one of many in the life of a producer."""
        self.until = until
        try:
            with RespClient(self.port) as client:
                while self.bytes < self.until:
                    first, jobs = self.next, self.jobs()
                    self.unsure.append((first, self.next))
                    reply = client("RPUSH", self.queue, *jobs)
                    assert isinstance(reply, int), reply
                    self.unsure.pop()
                    self.acknowledged += BATCH
                    self.bytes += sum(map(len, jobs))
        except (OSError, ConnectionError):
            pass

    def must(self):
        """Numbers of the acknowledged jobs."""
        unsure = {n for first, end in self.unsure for n in range(first, end)}
        return set(range(self.next)) - unsure, unsure


class Consumer:
    """Takes jobs until the server's end. `done`: what it has recorded, in order."""

    def __init__(self, port, number, how):
        self.port, self.number, self.how = port, number, how
        self.processing = f"processing:{number}"
        self.done = []
        self.in_hand = None  # taken from the queue, not known to be out of the processing list
        self.stop = False
        self.lost = 0  # kills at which a BLPOP was under way

    def take(self, client):
        if self.how == "BLPOP":
            reply = client("BLPOP", POP, "0.5")
            return reply[1] if reply else None
        if self.how == "BLMOVE":
            return client("BLMOVE", MOVE, self.processing, "LEFT", "RIGHT", "0.5")
        reply = client("LMOVE", MOVE, self.processing, "LEFT", "RIGHT")
        if reply is None:
            time.sleep(0.05)
        return reply

    def finish(self, client, job):
        """Out of the processing list, then into the record."""
        self.in_hand = job_id(job)
        assert client("LREM", self.processing, "1", job) == 1
        self.done.append(self.in_hand)
        self.in_hand = None

    def run(self):
        under_way = False
        try:
            with RespClient(self.port) as client:
                if self.how != "BLPOP":
                    for job in client("LRANGE", self.processing, "0", "-1"):
                        self.finish(client, job)
                while not self.stop:
                    under_way = True
                    job = self.take(client)
                    under_way = False
                    assert not isinstance(job, Error), job
                    if job is None:
                        continue
                    if self.how == "BLPOP":
                        self.done.append(job_id(job))
                    else:
                        self.finish(client, job)
        except (OSError, ConnectionError):
            self.lost += under_way and self.how == "BLPOP"


def read_ids(client, key):
    """Piecewise: the queue is larger than memory."""
    ids, at = [], 0
    while True:
        jobs = client("LRANGE", key, at, at + CHUNK - 1)
        assert not isinstance(jobs, Error), jobs
        ids += map(job_id, jobs)
        at += len(jobs)
        if len(jobs) < CHUNK:
            assert at == client("LLEN", key)
            return ids


def account(client, producers, consumers):
    """Every job is in exactly one place. Returns how many a queue still has."""
    left = {}
    for producer in producers:
        users = [c for c in consumers if (c.how == "BLPOP") == (producer.queue == POP)]
        queued = read_ids(client, producer.queue)
        assert queued == sorted(queued), "the queue's order"
        places = list(queued)
        for consumer in users:
            processing = read_ids(client, consumer.processing)
            assert len(processing) <= 1, processing
            places += processing
            if consumer.in_hand is not None:
                # The reply of the LREM was lost; whether it was done shows now.
                if consumer.in_hand not in processing:
                    consumer.done.append(consumer.in_hand)
                consumer.in_hand = None
            places += consumer.done
        assert len(places) == len(set(places)), "a job is in two places"
        must, unsure = producer.must()
        found = set(places)
        assert found <= must | unsure, "a job that nobody pushed"
        missing = must - found
        allowed = sum(consumer.lost for consumer in users)
        assert len(missing) <= allowed, (producer.queue, len(missing), allowed)
        left[producer.queue] = len(queued)
    return left


def run_until(threads, condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        assert any(thread.is_alive() for thread in threads)
        time.sleep(0.02)
    assert condition()


def begin(bodies):
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    return threads


def end(threads):
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive()


def test_every_job_is_in_one_place_whatever_is_killed(start):
    server = start("--maxmemory", str(MAXMEMORY), "--appendfsync", "always")
    producers = [Producer(server.port, queue, seed) for seed, queue in enumerate([POP, MOVE])]
    hows = ["BLPOP", "BLPOP", "BLPOP", "LMOVE", "BLMOVE", "BLMOVE"]
    consumers = [Consumer(server.port, i, how) for i, how in enumerate(hows)]

    def pushed():
        return sum(producer.bytes for producer in producers)

    def done():
        return sum(len(consumer.done) for consumer in consumers)

    # While jobs are pushed and taken.
    threads = begin([lambda p=p: p.produce(BACKLOG) for p in producers] +
                    [consumer.run for consumer in consumers])
    run_until(threads, lambda: pushed() > BACKLOG // 3 and done() > 50, 300)
    server.kill()
    end(threads)
    server.start()
    with server.resp() as client:
        account(client, producers, consumers)

    # The whole backlog, nobody takes from it.
    threads = begin([lambda p=p: p.produce(p.bytes + (BACKLOG - pushed()) // 2 + (2 << 20))
                     for p in producers])
    end(threads)
    with server.resp() as client:
        left = account(client, producers, consumers)
        assert sum(left.values()) * (LARGEST_JOB // 2) > BACKLOG * 0.6
        memory = dict(line.split(":", 1) for line in client("INFO", "memory").decode().split("\r\n")
                      if ":" in line)
        assert int(memory["used_memory"]) <= MAXMEMORY * 1.1

    # In the midst of a backlog that lies on disk.
    before = done()
    threads = begin([consumer.run for consumer in consumers])
    run_until(threads, lambda: done() > before + 300, 300)
    server.kill()
    end(threads)
    server.start()
    with server.resp() as client:
        account(client, producers, consumers)

    # What is left comes in order, and those who had a job in hand go on with it.
    before = done()
    threads = begin([consumer.run for consumer in consumers])
    run_until(threads, lambda: done() > before + 300, 300)
    for consumer in consumers:
        consumer.stop = True
    end(threads)
    with server.resp() as client:
        account(client, producers, consumers)
