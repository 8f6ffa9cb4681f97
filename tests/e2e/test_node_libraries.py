"""What web programs in Node put on top of a client: ioredis itself, sessions (connect-redis), rate
limits (rate-limiter-flexible), locks (redlock), with most of the data on disk."""

import json
import os
import shutil
import subprocess

import pytest

from harness import Server

MODULES = os.environ.get("FIRN_NODE_MODULES", "")


@pytest.fixture(scope="module")
def server():
    instance = Server("--maxmemory", "12mb", "--log-segment-size", "4mb")
    yield instance
    assert instance.process.poll() is None, f"the server died:\n{instance.log()}"
    instance.remove()


def node(server, needed, script):
    if not shutil.which("node") or not all(
            os.path.isdir(os.path.join(MODULES, name)) for name in needed):
        pytest.skip(f"node or {', '.join(needed)} is not installed")
    prelude = f"const modules = {json.dumps(MODULES)}; const port = {server.port};" + """
const assert = require('assert');
const crypto = require('crypto');
const noise = size => crypto.randomBytes(size / 2).toString('hex');
const main = run => run().then(() => process.exit(0),
                               error => { console.error(error); process.exit(1); });
"""
    result = subprocess.run(["node", "-e", prelude + script], capture_output=True, text=True,
                            timeout=120, env={**os.environ, "NODE_PATH": MODULES})
    assert result.returncode == 0, result.stdout + result.stderr


def test_ioredis(server, resp):
    node(server, ["ioredis"], """
const { Redis } = require('ioredis');
main(async () => {
  const redis = new Redis(port, { keyPrefix: 'app:' });
  const values = new Map();
  for (let i = 0; i < 2000; i += 50) {
    const pipeline = redis.pipeline();
    for (let j = i; j < i + 50; ++j) {
      values.set(`k${j}`, noise(10000));
      pipeline.set(`k${j}`, values.get(`k${j}`));
      pipeline.hset(`h${j % 10}`, `f${j}`, j);
    }
    for (const [error] of await pipeline.exec()) assert.ifError(error);
  }
  for (const [key, value] of values) assert.equal(await redis.get(key), value);
  assert.equal(Object.keys(await redis.hgetall('h3')).length, 200);

  redis.defineCommand('both', { numberOfKeys: 2,
    lua: "return {redis.call('STRLEN', KEYS[1]), redis.call('HLEN', KEYS[2]), ARGV[1]}" });
  assert.deepEqual(await redis.both('k7', 'h7', 'x'), [10000, 200, 'x']);
  const [[, length], [, gone]] = await redis.multi().strlen('k8').del('k8').exec();
  assert.deepEqual([length, gone], [10000, 1]);

  let seen = 0;
  for await (const keys of new Redis(port).scanStream({ match: 'app:k*', count: 100 })) {
    seen += keys.length;
  }
  assert.equal(seen, 1999);

  const subscriber = new Redis(port);
  await subscriber.subscribe('news');
  const received = new Promise(resolve => subscriber.on('message', (_, text) => resolve(text)));
  await redis.publish('news', 'hello');
  assert.equal(await received, 'hello');

  const waiting = new Redis(port).blpop('app:queue', 10);
  await redis.rpush('queue', 'job');
  assert.deepEqual(await waiting, ['app:queue', 'job']);
  await redis.xadd('stream', '*', 'field', 'value');
  const [[, [[, fields]]]] = await redis.xread('COUNT', 1, 'STREAMS', 'stream', 0);
  assert.deepEqual(fields, ['field', 'value']);
});
""")


def test_sessions_with_connect_redis(server, resp):
    node(server, ["connect-redis", "express-session", "redis"], """
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
main(async () => {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  const store = new RedisStore({ client, prefix: 'sess:', ttl: 1000 });
  const call = (name, ...args) => new Promise((resolve, reject) =>
    store[name](...args, (error, result) => error ? reject(error) : resolve(result)));
  const sessions = new Map();
  for (let i = 0; i < 1500; ++i) {
    const session = { user: i, cart: noise(12000), cookie: {} };
    sessions.set(`${i}`, session);
    await call('set', `${i}`, session);
  }
  for (const [id, session] of sessions) assert.deepEqual(await call('get', id), session);
  assert.equal(await call('length'), 1500);
  assert.equal((await call('ids')).length, 1500);
  await call('touch', '5', sessions.get('5'));
  assert.ok(await client.ttl('sess:5') > 900);
  await call('destroy', '5');
  assert.equal(await call('get', '5'), undefined);
  await call('clear');
  assert.equal(await client.dbSize(), 0);
});
""")


def test_rate_limits_with_rate_limiter_flexible(server, resp):
    resp("DEBUG", "POPULATE", 3000, "fill", 10_000)
    node(server, ["rate-limiter-flexible", "ioredis"], """
const { Redis } = require('ioredis');
const { RateLimiterRedis } = require('rate-limiter-flexible');
main(async () => {
  const storeClient = new Redis(port, { enableOfflineQueue: false });
  await new Promise(resolve => storeClient.on('ready', resolve));
  const limiter = new RateLimiterRedis({ storeClient, points: 5, duration: 100 });
  for (let user = 0; user < 100; ++user) {
    for (let i = 4; i >= 0; --i) {
      assert.equal((await limiter.consume(`user${user}`)).remainingPoints, i);
    }
  }
  await storeClient.call('TIER', 'DEMOTE', ...[...Array(100).keys()].map(i => `rlflx:user${i}`));
  for (let user = 0; user < 100; ++user) {
    const refused = await limiter.consume(`user${user}`).then(() => null, refusal => refusal);
    assert.equal(refused.remainingPoints, 0);
    assert.ok(refused.msBeforeNext > 50000);
  }
  await limiter.delete('user1');
  assert.equal((await limiter.consume('user1')).remainingPoints, 4);
});
""")


def test_locks_with_redlock(server, resp):
    node(server, ["redlock", "ioredis"], """
const { Redis } = require('ioredis');
const Redlock = require('redlock');
main(async () => {
  const redlock = new Redlock([new Redis(port)], { retryCount: 100, retryDelay: 10 });
  let inside = 0, rounds = 0;
  await Promise.all([...Array(8).keys()].map(async () => {
    for (let i = 0; i < 10; ++i) {
      const lock = await redlock.lock('resource', 5000);
      assert.equal(++inside, 1);
      await new Promise(resolve => setTimeout(resolve, 1));
      ++rounds;
      --inside;
      await lock.unlock();
    }
  }));
  assert.equal(rounds, 80);
  const lock = await redlock.lock('resource', 500);
  const hurried = new Redlock([new Redis(port)], { retryCount: 0 });
  await assert.rejects(hurried.lock('resource', 500));
  await lock.extend(2000);
  await assert.rejects(hurried.lock('resource', 500));
  await lock.unlock();
  await (await hurried.lock('resource', 500)).unlock();
});
""")
