// A gateway that is not one: serves the built page, and says what a small mesh would say. The shapes are
// those of `gateway/core/src/api`.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

const DIST = new URL('../dist/', import.meta.url).pathname;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

const share = (total, used) => ({ total, free: total - used });

export const NODES = ['hall', 'attic', 'street', 'kitchen', 'cellar', 'garage'].map((name, at) => ({
  node: {
    name, id: `n${at}abcdefghijkl`, state: ['online', 'online', 'online', 'suspect', 'offline', 'online'][at],
    draining: at === 5, labels: at < 2 ? ['indoors'] : undefined, address: `127.0.0.1:${40000 + at}`,
    seen_at: Date.now(), seen_ms: at === 4 ? 95_000 : 400, firmware: 'capmesh-node 0.1.0', board: at < 3 ? 'linux' : 'nrf52840dk',
    uptime_ms: 3_600_000, boots: 1 + at, flash: share(8 << 20, (1 << 20) * (at + 1)), ram: share(1 << 20, (at + 1) * 150_000),
    fuel: share(20_000_000, at * 3_000_000), places: share(8, at), sensors: at < 3 ? ['cpu-load', 'memory'] : undefined,
    links: [{ to: ['attic', 'street', 'kitchen', 'cellar', 'garage', 'hall'][at], address: '127.0.0.1:1', kind: 'ethernet', quality: 255 - at * 30, mtu: 1280 }],
  },
}));

const NAMES = ['load', 'window', 'detect', 'alert', 'summary'];

export const INSTANCES = NAMES.map((name, at) => ({
  instance: {
    instance: at + 1, path: `machine-health/${name}/0`, pipeline: 'machine-health', name, replica: 0,
    capsule: `city/${name}:1`, digest: `sha256:${'ab'.repeat(32)}`, node: NODES[at].node.name, epoch: 1 + at,
    state: ['running', 'running', 'running', 'backing-off', 'fetching'][at], reason: at === 3 ? 'trapped' : undefined,
    why: ['It has the sensor `cpu-load`.', 'Of those that fit, it has the most RAM left.'],
    counters: { restarts: at, handled: 1234 * at, published: 99_000 * at, dropped: 0, fuel_per_second: 12_000, inbox: 0, outbox: at },
  },
}));

const PIPELINE = {
  pipeline: {
    name: 'machine-health', state: 'degraded', instances: INSTANCES.map((one) => one.instance.path), running: 3,
    wires: NAMES.slice(1).map((name, at) => ({ from: `${NAMES[at]}.out`, to: `${name}.in`, delivery: at % 2 ? 'every' : 'latest', overflow: 'drop-oldest' })),
    problems: ['alert on kitchen traps: it waits 8 s before it is started again.'],
  },
};

const MIGRATION = {
  migration: { migration: 1, instance: 2, path: 'machine-health/window/0', from: 'garage', to: 'attic', epoch: 2, state: 'done', cause: 'garage is being drained', began_at: Date.now() - 60_000, steps: [], snapshot_bytes: 8192, blackout_us: 12_400 },
};

export const TOPIC = 'machine-health/summary/out';

const value = (seq) => ({
  value: {
    topic: TOPIC, instance: 5, epoch: 1, seq, sampled_us: (Date.now() - 60_000 + seq * 500) * 1000,
    value: { mean: 40 + 10 * Math.sin(seq / 7), most: 60 + 5 * Math.cos(seq / 5), count: 12, time: 'x', seq, epoch: 1 },
  },
});

const log = (number) => ({ log: { at: Date.now(), node: NODES[number % 3].node.name, number, level: ['info', 'warning', 'error'][number % 3], text: `line ${number} of the log` } });

const LOOKS = {
  nodes: { nodes: NODES.map((one) => one.node) },
  site: { site: { site: 'greenhouse', gateway: 'gw1', version: '0.1.0', uptime_ms: 1000 } },
  topics: { topics: [{ topic: TOPIC, mqtt: `capmesh/greenhouse/${TOPIC}`, direction: 'publish', schema: { fields: [{ name: 'mean', type: 'f32', unit: '%', optional: false }] } }] },
  log: { log: [log(0).log, log(1).log] },
};

/// Starts it; `empty` is a site without nodes.
export async function fixture({ empty = false } = {}) {
  const streams = new Set();
  const send = (response, event) => response.write(`event: ${Object.keys(event)[0]}\ndata: ${JSON.stringify(event)}\n\n`);
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://fixture').pathname;
    if (path === '/api/v1/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      send(response, { mqtt: { connected: true, waiting: 0, published: 10, lost: 0 } });
      if (!empty) {
        for (const event of [...NODES, PIPELINE, ...INSTANCES, MIGRATION]) send(response, event);
        for (let seq = 0; seq < 100; seq += 1) send(response, value(seq));
        for (let number = 2; number < 30; number += 1) send(response, log(number));
      }
      streams.add(response);
      response.on('close', () => streams.delete(response));
      return;
    }
    const look = LOOKS[path.replace('/api/v1/', '')];
    if (look) {
      const nothing = path.endsWith('/site') ? look : { [Object.keys(look)[0]]: [] };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(empty ? nothing : look));
      return;
    }
    const file = join(DIST, normalize(path === '/' ? '/index.html' : path));
    try {
      const bytes = await readFile(file);
      response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    tell: (event) => streams.forEach((response) => send(response, event)),
    value: (seq) => streams.forEach((response) => send(response, value(seq))),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
