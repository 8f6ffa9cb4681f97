// Sessions with node-redis: a hash each, that ends when nobody has used it for a while.
//
//   npm install redis; node sessions.js [port]
const assert = require('assert');
const crypto = require('crypto');
const { createClient } = require('redis');

class Sessions {
  constructor(client, seconds = 14 * 24 * 3600) {
    this.client = client;
    this.seconds = seconds;
  }

  async begin(user) {
    const session = crypto.randomBytes(24).toString('base64url');
    const key = `session:${session}`;
    await this.client.multi().hSet(key, { user }).expire(key, this.seconds).exec();
    return session;
  }

  // What the session holds, and its time begins anew; null if it has ended.
  async use(session) {
    const key = `session:${session}`;
    const [fields] = await this.client.multi().hGetAll(key).expire(key, this.seconds).exec();
    return fields.user === undefined ? null : { ...fields };
  }

  end(session) {
    return this.client.unlink(`session:${session}`);
  }
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  const sessions = new Sessions(client);
  const session = await sessions.begin('eve');
  assert.deepEqual(await sessions.use(session), { user: 'eve' });
  await client.sendCommand(['TIER', 'DEMOTE', `session:${session}`]);
  assert.deepEqual(await sessions.use(session), { user: 'eve' });
  await sessions.end(session);
  assert.equal(await sessions.use(session), null);

  const short = new Sessions(client, 1);
  const other = await short.begin('eve');
  await new Promise((resume) => setTimeout(resume, 1100));
  assert.equal(await short.use(other), null);
  await client.quit();
  console.log('sessions: ok');
}

main(process.argv[2] ?? 6379);
