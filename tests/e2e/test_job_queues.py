"""Celery, RQ, Sidekiq and BullMQ on a server that has little memory and is killed in the middle:
no job is lost. What their documentation allows is counted: with a plain blocking pop the job whose
reply was under way (at most one for each consumer and kill), a second run of jobs that were not
acknowledged."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import zlib

import pytest

from harness import wait_for

JOBS = 150
PAYLOAD = 200_000
WORKERS = 2
MODULES = os.environ.get("FIRN_NODE_MODULES", "")


def needs(*modules):
    return pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in modules),
                              reason=f"{' or '.join(modules)} is not installed")


@pytest.fixture
def store(start):
    """Memory for less than half of the jobs."""
    return start("--maxmemory", "16mb", "--log-segment-size", "4mb")


def payload():
    """What doesn't compress, but is text."""
    return os.urandom(PAYLOAD // 2).hex()


class Workers:
    """Processes of a library that are kept running, and the record of the jobs they have done."""

    def __init__(self, server, directory, command, **environment):
        self.server = server
        self.command = command
        self.directory = directory
        self.record = os.path.join(directory, "record")
        self.log_path = os.path.join(directory, "workers.log")
        self.environment = {**os.environ, "RECORD": self.record, "PORT": str(server.port),
                            "PYTHONDONTWRITEBYTECODE": "1", **environment}
        self.processes = [None] * WORKERS
        self.jobs = JOBS

    def script(self, name, text):
        with open(os.path.join(self.directory, name), "w") as file:
            file.write(text)

    def run(self, command):
        finished = subprocess.run(command, cwd=self.directory, env=self.environment, timeout=200,
                                  capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def keep_running(self):
        for i, process in enumerate(self.processes):
            if process is None or process.poll() is not None:
                with open(self.log_path, "ab") as log:
                    self.processes[i] = subprocess.Popen(
                        self.command, cwd=self.directory, env=self.environment,
                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def kill(self):
        for process in self.processes:
            if process is not None:
                process.kill()
                process.wait()

    def runs(self):
        """The numbers of the jobs that have run, in order, each as often as it has."""
        try:
            with open(self.record) as file:
                text = file.read()
        except FileNotFoundError:
            return []
        # The last line may be on its way.
        return [int(line) for line in text.split("\n")[:-1]]

    def all_done(self):
        """Whether all jobs have run; sees to it that there are workers."""
        self.keep_running()
        return set(self.runs()) == set(range(self.jobs))

    def work(self, waiting, kill_worker_at=None, patience=3):
        """Runs the workers, and kills the server in the middle, until all jobs have run, or nothing
        has come for a while although no job is `waiting`, or for very long; answers which are
        missing. `waiting` counts jobs, given a connection."""
        jobs, kill_at = self.jobs, self.jobs // 3
        missing, last = set(range(jobs)), time.monotonic()
        killed = False
        while missing and time.monotonic() < last + 200:
            if time.monotonic() > last + patience:
                with self.server.redis() as connection:
                    if not waiting(connection):
                        break
            self.keep_running()
            left = set(range(jobs)) - set(self.runs())
            if len(left) < len(missing):
                missing, last = left, time.monotonic()
            if not killed and len(missing) <= jobs - kill_at:
                self.server.restart("kill")
                killed = True
            if kill_worker_at and len(missing) <= jobs - kill_worker_at:
                self.processes[0].kill()
                self.processes[0].wait()
                kill_worker_at = None
            time.sleep(0.02)
        assert killed, self.log()
        return missing

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()[-5000:]


@pytest.fixture
def workers(store, tmp_path):
    made = []

    def make(command, **environment):
        made.append(Workers(store, str(tmp_path), command, **environment))
        return made[-1]

    yield make
    for instance in made:
        instance.kill()


# What each job in Python does.
PYTHON_JOB = """
import os, zlib

def record(number, payload, checksum):
    assert zlib.crc32(payload.encode()) == checksum
    with open(os.environ["RECORD"], "a") as file:
        file.write(f"{number}\\n")
"""


def arguments(number):
    text = payload()
    return number, text, zlib.crc32(text.encode())


def assert_most_is_on_disk(server):
    with server.resp() as resp:
        info = resp("INFO", "tiering").decode()
    cold = int(info.split("cold_bytes:")[1].split("\r\n")[0])
    assert cold > JOBS * PAYLOAD // 2, info


@needs("rq")
def test_rq(store, workers):
    from rq import Queue
    from rq.job import Job
    work = workers([sys.executable, "-m", "rq.cli", "worker", "--quiet", "-u",
                    f"redis://127.0.0.1:{store.port}", "-w", "rq.worker.SimpleWorker"])
    work.script("jobs.py", PYTHON_JOB)
    with store.redis() as connection:
        queue = Queue(connection=connection)
        for i in range(JOBS):
            queue.enqueue("jobs.record", args=arguments(i), job_id=f"job-{i}", result_ttl=1000)
    assert_most_is_on_disk(store)
    missing = work.work(lambda connection: connection.llen("rq:queue:default"))
    # Those that a worker had taken when the server died are known still.
    assert len(missing) <= WORKERS, work.log()
    with store.redis() as connection:
        queue = Queue(connection=connection)
        for i in missing:
            queue.enqueue_job(Job.fetch(f"job-{i}", connection=connection))
        assert wait_for(work.all_done), work.log()
        assert all(Job.exists(f"job-{i}", connection=connection) for i in range(JOBS))
    assert len(work.runs()) <= JOBS + WORKERS


CELERY_APP = PYTHON_JOB + """
from celery import Celery

url = f"redis://127.0.0.1:{os.environ['PORT']}/0"
app = Celery("jobs", broker=url, backend=url)
app.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=1, worker_hijack_root_logger=False,
    broker_transport_options={"visibility_timeout": 2}, broker_connection_max_retries=None)
run = app.task(record, name="run")
"""


# Kombu looks for the next job once a second where one is taken at a time: as much data in fewer jobs.
CELERY_JOBS = 40
CELERY_PAYLOAD = JOBS * PAYLOAD // CELERY_JOBS


@needs("celery")
def test_celery(store, workers):
    work = workers([sys.executable, "-m", "celery", "-A", "jobs", "worker", "--pool", "solo",
                    "--loglevel", "ERROR", "--without-gossip", "--without-mingle",
                    "--without-heartbeat"])
    work.jobs = CELERY_JOBS
    work.script("jobs.py", CELERY_APP)
    work.script("produce.py", f"""
import zlib, os, jobs
for i in range({CELERY_JOBS}):
    text = os.urandom({CELERY_PAYLOAD // 2}).hex()
    jobs.run.apply_async((i, text, zlib.crc32(text.encode())), task_id=f"job-{{i}}")
""")
    work.run([sys.executable, "produce.py"])
    assert_most_is_on_disk(store)
    missing = work.work(lambda connection: connection.llen("celery"))
    if missing:
        # What was taken and not acknowledged comes again with a worker that begins.
        work.kill()
        idle = [0]

        def ended():
            idle[0] += 1
            if connection.llen("celery") or connection.hlen("unacked"):
                idle[0] = 0
            return work.all_done() or idle[0] > 50

        with store.redis() as connection:
            # Or with the visibility timeout, which is an hour.
            wait_for(ended, seconds=20)
    missing = set(range(CELERY_JOBS)) - set(work.runs())
    # Kombu takes messages with BRPOP: one whose reply was under way is gone.
    assert len(missing) <= WORKERS, work.log()
    # What was running when the server died runs once more.
    assert len(work.runs()) <= CELERY_JOBS + 2 * WORKERS
    with store.redis() as connection:
        results = sum(connection.exists(f"celery-task-meta-job-{i}") for i in range(CELERY_JOBS))
        assert results >= CELERY_JOBS - 2 * WORKERS


SIDEKIQ_JOB = """
require 'sidekiq'
require 'zlib'
Sidekiq.configure_server { |config| config.redis = { url: "redis://127.0.0.1:#{ENV['PORT']}" } }
Sidekiq.configure_client { |config| config.redis = { url: "redis://127.0.0.1:#{ENV['PORT']}" } }
Sidekiq.options[:poll_interval_average] = 1

class Job
  include Sidekiq::Worker

  def perform(number, payload, checksum)
    raise 'damaged' if Zlib.crc32(payload) != checksum
    File.open(ENV['RECORD'], 'a') { |file| file.write("#{number}\\n") }
  end
end
"""


@pytest.mark.skipif(not shutil.which("sidekiq"), reason="Sidekiq is not installed")
def test_sidekiq(store, workers):
    work = workers(["sidekiq", "-c", "1", "-r", "./jobs.rb"])
    work.script("jobs.rb", SIDEKIQ_JOB)
    # Every tenth is scheduled: those lie in a sorted set until their time has come.
    work.script("produce.rb", f"""
require './jobs'
require 'securerandom'
{JOBS}.times do |i|
  text = SecureRandom.hex({PAYLOAD // 2})
  where = i % 10 == 0 ? Job.set(wait: 1) : Job
  where.perform_async(i, text, Zlib.crc32(text))
end
""")
    work.run(["ruby", "produce.rb"])
    assert_most_is_on_disk(store)
    missing = work.work(
        lambda connection: connection.llen("queue:default") + connection.zcard("schedule"))
    # Sidekiq takes jobs with BRPOP: one whose reply was under way is gone.
    assert len(missing) <= WORKERS, work.log()
    assert len(work.runs()) <= JOBS + WORKERS
    with store.redis() as connection:
        assert connection.zcard("dead") == 0


BULLMQ_COMMON = """
const bullmq = require('bullmq');
const crypto = require('crypto');
const fs = require('fs');
const connection = { host: '127.0.0.1', port: Number(process.env.PORT),
                     maxRetriesPerRequest: null, retryStrategy: () => 50 };
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const hash = text => crypto.createHash('sha1').update(text).digest('hex');
"""

BULLMQ_WORKER = """
const options = { connection, lockDuration: 1000, stalledInterval: 500, maxStalledCount: 20 };
const worker = new bullmq.Worker('jobs', async job => {
  if (job.name === 'tick') {
    fs.appendFileSync(process.env.RECORD + '.ticks', 'tick\\n');
    return;
  }
  if (hash(job.data.payload) !== job.data.hash) throw new Error('damaged');
  fs.appendFileSync(process.env.RECORD, `${job.data.number}\\n`);
  await sleep(5);
}, options);
worker.on('error', () => {});
worker.on('failed', (job, error) => console.log('failed', job && job.id, error.message));
"""

# Of ten: a delayed one, a prioritised one, a flow of a parent and two children, six simple ones.
BULLMQ_PRODUCER = """
const data = number => {
  const payload = crypto.randomBytes(PAYLOAD / 2).toString('hex');
  return { number, payload, hash: hash(payload) };
};
(async () => {
  const queue = new bullmq.Queue('jobs', { connection });
  const flows = new bullmq.FlowProducer({ connection });
  await queue.upsertJobScheduler('ticks', { every: 200 }, { name: 'tick' });
  const child = number => ({ name: 'child', queueName: 'jobs', data: data(number) });
  for (let i = 0; i < JOBS; ++i) {
    const job = data(i);
    if (i % 10 === 0) await queue.add('delayed', job, { delay: 1000 });
    else if (i % 10 === 1) await queue.add('urgent', job, { priority: 1 + i });
    else if (i % 10 === 2) {
      await flows.add({ name: 'parent', queueName: 'jobs', data: job,
                        children: [child(++i), child(++i)] });
    } else await queue.add('simple', job);
  }
  await queue.close();
  await flows.close();
})().catch(error => { console.error(error); process.exit(1); });
"""

BULLMQ_COUNTS = """
(async () => {
  const queue = new bullmq.Queue('jobs', { connection });
  console.log(JSON.stringify(await queue.getJobCounts()));
  await queue.close();
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.mark.skipif(not shutil.which("node") or not os.path.isdir(os.path.join(MODULES, "bullmq")),
                    reason="node or BullMQ is not installed")
def test_bullmq(store, workers):
    work = workers(["node", "worker.js"], NODE_PATH=MODULES)
    work.script("worker.js", BULLMQ_COMMON + BULLMQ_WORKER)
    work.script("counts.js", BULLMQ_COMMON + BULLMQ_COUNTS)
    work.script("produce.js", BULLMQ_COMMON + f"const JOBS = {JOBS}, PAYLOAD = {PAYLOAD};" +
                BULLMQ_PRODUCER)
    work.run(["node", "produce.js"])
    assert_most_is_on_disk(store)
    # A worker that dies leaves its job stalled: another one does it once more.
    missing = work.work(lambda connection: True, kill_worker_at=JOBS * 2 // 3)
    assert not missing, work.log()
    runs = work.runs()
    # One for each worker when the server died, and one for the worker that died.
    assert len(runs) <= JOBS + WORKERS + 1
    for parent in range(2, JOBS, 10):
        assert runs.index(parent) > max(runs.index(parent + 1), runs.index(parent + 2))

    def ticks():
        with open(work.record + ".ticks") as file:
            return len(file.read().split())

    before = ticks()
    assert before > 0 and wait_for(lambda: ticks() > before + 2)
    counts = {}

    def settled():
        counts.update(json.loads(work.run(["node", "counts.js"])))
        return counts["completed"] >= JOBS and counts["active"] <= 1

    assert wait_for(settled), counts
    assert counts["failed"] == counts["waiting"] == counts["prioritized"] == 0, counts
    assert counts["waiting-children"] == 0 and counts["delayed"] <= 1, counts
