"""RESP3 with node-redis 5, and SCAN cursors as doubles with node-redis 4."""

import json
import os
import shutil
import subprocess

import pytest

MODULES = os.environ.get("FIRN_NODE_MODULES", "")
pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not os.path.isdir(os.path.join(MODULES, "redis")),
    reason="node or node-redis is not installed")


def node(server, script):
    prelude = f"""
const modules = {json.dumps(MODULES)};
const port = {server.port};
const assert = require('assert');
"""
    result = subprocess.run(["node", "-e", prelude + script], capture_output=True, text=True,
                            timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_resp3(server):
    node(server, """
const { createClient } = require(modules + '/redis');
(async () => {
  const client = await createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3 }).connect();
  await client.flushAll();
  assert.equal(await client.set('key', 'value', { EX: 100 }), 'OK');
  assert.equal(await client.get('key'), 'value');
  assert.equal(await client.get('none'), null);
  assert.ok(await client.ttl('key') > 90);
  assert.deepEqual({ ...(await client.configGet('databases')) }, { databases: '16' });
  assert.match(await client.info('server'), /redis_version:7\\.2/);
  const replies = await Promise.all([...Array(1000).keys()].map(i => client.set(`k${i}`, `${i}`)));
  assert.ok(replies.every(reply => reply === 'OK'));
  const values = await client.mGet([...Array(1000).keys()].map(i => `k${i}`));
  assert.deepEqual(values, [...Array(1000).keys()].map(String));
  const hello = await client.sendCommand(['HELLO']);
  assert.equal(hello.proto ?? hello.get?.('proto'), 3);
  await client.close();
})().catch(error => { console.error(error); process.exit(1); });
""")


@pytest.mark.parametrize("package", ["redis", "redis4"])
def test_scan_returns_every_key_once(server, package):
    node(server, f"const package = '{package}';" + """
const { createClient } = require(`${modules}/${package}`);
(async () => {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  await client.flushAll();
  await Promise.all([...Array(5000).keys()].map(i => client.set(`k${i}`, 'v')));
  const seen = new Set();
  let found = 0;
  for await (const batch of client.scanIterator({ COUNT: 50 })) {
    for (const key of [batch].flat()) { seen.add(key); ++found; }
  }
  assert.equal(seen.size, 5000);
  assert.equal(found, 5000);
  await client.quit();
})().catch(error => { console.error(error); process.exit(1); });
""")
