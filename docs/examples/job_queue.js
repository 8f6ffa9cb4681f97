// A queue of jobs in a stream, with node-redis: a consumer group gives each job to one worker, and
// the jobs of a worker that died go to another.
//
//   npm install redis; node job_queue.js [port]
const assert = require('assert');
const { createClient } = require('redis');

const STREAM = 'jobs:print';
const GROUP = 'printers';

// The next jobs, now this worker's: those that others have had for too long, then new ones.
async function take(client, worker, idleMs) {
  const claimed = await client.xAutoClaim(STREAM, GROUP, worker, idleMs, '0-0', { COUNT: 10 });
  const old = claimed.messages.filter((message) => message !== null);
  if (old.length > 0) return old;
  const fresh = await client.xReadGroup(GROUP, worker, { key: STREAM, id: '>' }, { COUNT: 10 });
  return fresh === null ? [] : fresh[0].messages;
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  await client.del(STREAM);
  await client.xGroupCreate(STREAM, GROUP, '0', { MKSTREAM: true });
  for (let page = 0; page < 100; page++) await client.xAdd(STREAM, '*', { page: `${page}` });

  // One worker dies with ten jobs in its hands.
  assert.equal((await take(client, 'dead', 60000)).length, 10);
  assert.equal((await client.xPending(STREAM, GROUP)).pending, 10);

  const done = [];
  for (;;) {
    const jobs = await take(client, 'alive', 0);
    if (jobs.length === 0) break;
    for (const job of jobs) {
      done.push(Number(job.message.page));
      await client.xAck(STREAM, GROUP, job.id);
    }
  }
  assert.deepEqual(done.sort((a, b) => a - b), [...Array(100).keys()]);
  assert.equal((await client.xPending(STREAM, GROUP)).pending, 0);
  // What was done may go.
  await client.xTrim(STREAM, 'MAXLEN', 0);
  await client.del(STREAM);
  await client.quit();
  console.log('queue: ok');
}

main(process.argv[2] ?? 6379);
