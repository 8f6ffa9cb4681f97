// A lock with node-redis. The token tells whose it is, so that one who was too slow does not
// release another's.
//
//   npm install redis; node lock.js [port]
const assert = require('assert');
const crypto = require('crypto');
const { createClient } = require('redis');

const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
`;

class Lock {
  constructor(client, name, milliseconds = 10000) {
    this.client = client;
    this.key = `lock:${name}`;
    this.milliseconds = milliseconds;
    this.token = crypto.randomBytes(16).toString('hex');
  }

  // False if somebody else kept it for so long.
  async acquire(seconds = 5) {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const got = await this.client.set(this.key, this.token, { NX: true, PX: this.milliseconds });
      if (got === 'OK') return true;
      if (Date.now() >= deadline) return false;
      await new Promise((resume) => setTimeout(resume, 5));
    }
  }

  // False if it was lost before.
  async release() {
    return (await this.client.eval(RELEASE, { keys: [this.key], arguments: [this.token] })) === 1;
  }
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  const first = new Lock(client, 'node');
  const second = new Lock(client, 'node');
  assert.ok(await first.acquire());
  assert.ok(!(await second.acquire(0)));
  assert.ok(!(await second.release()));
  assert.ok(await first.release());

  let counter = 0;
  await Promise.all([...Array(4)].map(async () => {
    for (let i = 0; i < 10; i++) {
      const lock = new Lock(client, 'node');
      assert.ok(await lock.acquire(30));
      const seen = counter;
      await new Promise((resume) => setTimeout(resume, 1));
      counter = seen + 1;
      assert.ok(await lock.release());
    }
  }));
  assert.equal(counter, 40);
  await client.quit();
  console.log('lock: ok');
}

main(process.argv[2] ?? 6379);
