// Cache-aside with node-redis: a slow source, and a cache in front of it that forgets by itself.
//
//   npm install redis; node cache_aside.js [port]
const assert = require('assert');
const { createClient } = require('redis');

class Cache {
  // Keeps what `load(name)` gives for `seconds`.
  constructor(client, load, seconds = 3600) {
    this.client = client;
    this.load = load;
    this.seconds = seconds;
  }

  async get(name) {
    const key = `cache:${name}`;
    const kept = await this.client.get(key);
    if (kept !== null) return JSON.parse(kept);
    const value = await this.load(name);
    await this.client.set(key, JSON.stringify(value), { EX: this.seconds });
    return value;
  }

  // To be called once the source has changed.
  forget(name) {
    return this.client.del(`cache:${name}`);
  }
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  const loaded = [];
  const cache = new Cache(client, async (name) => {
    loaded.push(name);
    return { name, length: name.length };
  });
  assert.deepEqual(await cache.get('moss'), { name: 'moss', length: 4 });
  await client.sendCommand(['TIER', 'DEMOTE', 'cache:moss']);
  assert.deepEqual(await cache.get('moss'), { name: 'moss', length: 4 });
  assert.deepEqual(loaded, ['moss']);
  await cache.forget('moss');
  await cache.get('moss');
  assert.deepEqual(loaded, ['moss', 'moss']);
  await cache.forget('moss');
  await client.quit();
  console.log('cache-aside: ok');
}

main(process.argv[2] ?? 6379);
