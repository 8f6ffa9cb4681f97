// A leaderboard with node-redis: points, ranks, and a player's neighbours.
//
//   npm install redis; node leaderboard.js [port]
const assert = require('assert');
const { createClient } = require('redis');

class Leaderboard {
  constructor(client, name) {
    this.client = client;
    this.key = `board:${name}`;
  }

  // The player's points from now on.
  add(player, points) {
    return this.client.zIncrBy(this.key, points, player);
  }

  top(count) {
    return this.client.zRangeWithScores(this.key, 0, count - 1, { REV: true });
  }

  // 1 for the best; null if there is no such player.
  async rank(player) {
    const rank = await this.client.zRevRank(this.key, player);
    return rank === null ? null : rank + 1;
  }

  async around(player, distance) {
    const rank = await this.client.zRevRank(this.key, player);
    if (rank === null) return [];
    return this.client.zRange(this.key, Math.max(0, rank - distance), rank + distance,
                              { REV: true });
  }
}

async function main(port) {
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect();
  const board = new Leaderboard(client, 'month');
  await client.del('board:month');
  await client.zAdd('board:month',
                    [...Array(5000).keys()].map((n) => ({ score: n, value: `player${n}` })));
  assert.equal(Number(await board.add('player17', 20000)), 20017);
  assert.deepEqual((await board.top(2)).map((row) => row.value), ['player17', 'player4999']);
  assert.equal(await board.rank('player17'), 1);
  assert.equal(await board.rank('nobody'), null);
  await client.sendCommand(['TIER', 'DEMOTE', 'board:month']);
  assert.deepEqual(await board.around('player2000', 1),
                   ['player2001', 'player2000', 'player1999']);
  await client.del('board:month');
  await client.quit();
  console.log('leaderboard: ok');
}

main(process.argv[2] ?? 6379);
