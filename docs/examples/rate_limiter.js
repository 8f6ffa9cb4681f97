// A rate limiter with node-redis: a window of fixed length, counted by one function of the server.
// Functions are kept by the server, also when it starts anew.
//
//   npm install redis; node rate_limiter.js [port]
const assert = require('assert');
const { createClient } = require('redis');

// KEYS[1] the counter; ARGV: limit, window in milliseconds. Answers {allowed, wait in ms}.
const LIBRARY = `#!lua name=rate_limiter
redis.register_function('allow', function(keys, args)
  local used = redis.call('INCR', keys[1])
  if used == 1 then
    redis.call('PEXPIRE', keys[1], args[2])
  end
  if used <= tonumber(args[1]) then
    return {1, 0}
  end
  return {0, redis.call('PTTL', keys[1])}
end)
`;

async function allow(client, who, limit, milliseconds) {
  const [allowed, waitMs] = await client.fCall('allow', {
    keys: [`rate:${who}`],
    arguments: [`${limit}`, `${milliseconds}`],
  });
  return { allowed: allowed === 1, waitMs };
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  await client.functionLoad(LIBRARY, { REPLACE: true });
  for (let i = 0; i < 3; i++) assert.ok((await allow(client, 'carol', 3, 1500)).allowed);
  const { allowed, waitMs } = await allow(client, 'carol', 3, 1500);
  assert.ok(!allowed && waitMs > 0 && waitMs <= 1500);
  assert.ok((await allow(client, 'dave', 3, 1500)).allowed);
  await new Promise((resume) => setTimeout(resume, waitMs + 10));
  assert.ok((await allow(client, 'carol', 3, 1500)).allowed);
  await client.del(['rate:carol', 'rate:dave']);
  await client.functionDelete('rate_limiter');
  await client.quit();
  console.log('rate limiter: ok');
}

main(process.argv[2] ?? 6379);
