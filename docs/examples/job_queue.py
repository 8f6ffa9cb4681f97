#!/usr/bin/env python3
"""A queue of jobs that loses none: a worker moves a job into a list of its own while it works on
it, so that the jobs of a worker that died can be given to others.

A backlog larger than RAM is no harm: both ends of the list stay in RAM, the middle lies on disk.
"""

import json
import sys
import threading

import redis


class Queue:
    def __init__(self, client, name):
        self.client = client
        self.waiting = f"queue:{name}:waiting"
        self.workers = f"queue:{name}:workers"

    def working(self, worker):
        return f"{self.waiting}:{worker}"

    def put(self, job):
        self.client.lpush(self.waiting, json.dumps(job))

    def take(self, worker, seconds=1):
        """The next job, now this worker's; None if there was none for so long."""
        self.client.sadd(self.workers, worker)
        text = self.client.blmove(self.waiting, self.working(worker), seconds, "RIGHT", "LEFT")
        return None if text is None else (text, json.loads(text))

    def done(self, worker, text):
        self.client.lrem(self.working(worker), 1, text)

    def give_back(self, worker):
        """The jobs of a worker that is gone wait again, the next to be taken; how many."""
        count = 0
        while self.client.lmove(self.working(worker), self.waiting, "LEFT", "RIGHT") is not None:
            count += 1
        self.client.srem(self.workers, worker)
        return count


def main(port):
    client = redis.Redis(port=port, decode_responses=True)
    queue = Queue(client, "mail")
    client.delete(queue.waiting, queue.workers, queue.working("a"), queue.working("b"))
    for number in range(200):
        queue.put({"to": number})

    # One worker dies with a job in its hands.
    text, job = queue.take("a")
    assert job == {"to": 0}
    assert client.llen(queue.working("a")) == 1
    assert queue.give_back("a") == 1

    finished = []

    def work(name):
        own = Queue(redis.Redis(port=port, decode_responses=True), "mail")
        while (taken := own.take(name, seconds=0.3)) is not None:
            text, job = taken
            finished.append(job["to"])
            own.done(name, text)

    workers = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(finished) == list(range(200))
    assert client.exists(queue.waiting, queue.working("a"), queue.working("b")) == 0
    client.delete(queue.workers)
    print("queue: ok")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6379)
