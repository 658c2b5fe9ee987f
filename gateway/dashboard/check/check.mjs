// Looks at the built page in a headless browser, against `fixture.mjs`, or against a gateway that runs:
//
//   node check/check.mjs [--gateway URL] [--shots DIRECTORY]
//
// Each check waits for what it wants to see, and fails if that does not come.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { NODES, TOPIC, fixture } from './fixture.mjs';

const option = (name) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const browsers = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = process.env.CHROMIUM ?? browsers.find(existsSync);
if (!executablePath) throw new Error('there is no Chromium here (Debian package chromium)');
const shots = option('--shots');
if (shots) await mkdir(shots, { recursive: true });

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
let failed = 0;

/// Opens the page in a browser of its own.
async function open(url, options, look) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(url);
  try {
    await look(page);
    assert.deepEqual(errors, [], 'errors of scripts');
  } finally {
    await context.close();
  }
}

async function check(name, run) {
  try {
    await run();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}

const shot = (page, name) => shots && page.screenshot({ path: join(shots, `${name}.png`) });
const see = (page, text) => page.getByText(text).first().waitFor();

/// Nothing sticks out to the side.
async function fits(page) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= room, `the page is ${wide} wide and has ${room}`);
}

async function overview(page) {
  await see(page, 'greenhouse');
  for (const { node } of NODES) await page.locator('svg.map').getByText(node.name, { exact: true }).waitFor();
  await see(page, TOPIC);
  // Each number has a scale of its own, and says its last value.
  for (const name of ['mean', 'most', 'count']) {
    const panel = page.locator('.chart figure', { hasText: name });
    await panel.locator('canvas').waitFor();
    await panel.locator('.value', { hasText: /\d/ }).waitFor();
  }
  await see(page, 'line 29 of the log');
  await see(page, '12.4 ms away');
  await fits(page);
}

async function withFixture(options, run) {
  const gateway = await fixture(options);
  try {
    await run(gateway);
  } finally {
    await gateway.close();
  }
}

const gateway = option('--gateway');
if (gateway) {
  await check('a gateway that runs', () => open(gateway, {}, async (page) => {
    await page.locator('.pill', { hasText: 'live' }).waitFor();
    await page.locator('svg.map .spot.online').first().waitFor();
    await page.locator('.values .value').first().waitFor();
    await shot(page, 'gateway');
    await fits(page);
  }));
} else {
  await withFixture({}, async (gateway) => {
    for (const colorScheme of ['light', 'dark']) {
      await check(`overview, ${colorScheme}`, () => open(gateway.url, { colorScheme }, async (page) => {
        await overview(page);
        await shot(page, `overview-${colorScheme}`);
      }));
    }
    await check('phone', () => open(gateway.url, { viewport: { width: 390, height: 844 }, hasTouch: true }, async (page) => {
      await overview(page);
      await shot(page, 'phone');
      for (const section of ['nodes', 'instances', 'values', 'log', 'nodes/hall']) {
        await page.goto(`${gateway.url}#/${section}`);
        await fits(page);
      }
      await see(page, 'capmesh-node 0.1.0');
      await shot(page, 'phone-node');
    }));
    await check('nodes: sort, filter, details', () => open(`${gateway.url}#/nodes`, {}, async (page) => {
      const first = page.locator('tbody tr').first();
      await first.getByText('attic').waitFor();
      await page.locator('th button', { hasText: 'Node' }).click();
      await first.getByText('street').waitFor();
      await page.getByLabel('Filter').fill('nrf offline');
      assert.equal(await page.locator('tbody tr').count(), 1);
      await first.click();
      await page.locator('.detail').getByText('127.0.0.1:40004').waitFor();
      await shot(page, 'nodes');
    }));
    await check('instances: why they are where they are', () => open(`${gateway.url}#/instances/4`, {}, async (page) => {
      const detail = page.locator('.detail');
      await detail.getByText('Of those that fit, it has the most RAM left.').waitFor();
      await detail.getByText('trapped').waitFor();
      // Its node is offline: what it said last does not count.
      await page.locator('tbody tr', { hasText: 'summary' }).getByText('lost').waitFor();
      await shot(page, 'instance');
    }));
    await check('log: level and filter', () => open(`${gateway.url}#/log`, {}, async (page) => {
      await see(page, 'line 29 of the log');
      await page.getByLabel('Level').selectOption('error');
      await page.getByText('line 28 of the log').waitFor({ state: 'detached' });
      await page.getByLabel('Filter').fill('line 29');
      await page.waitForFunction(() => document.querySelectorAll('.log li').length === 1);
    }));
    await check('what changes is shown, what goes is gone', () => open(gateway.url, {}, async (page) => {
      await overview(page);
      gateway.tell({ node: { ...NODES[4].node, state: 'online' } });
      await page.locator('svg.map .spot.online', { hasText: 'cellar' }).waitFor();
      gateway.tell({ gone: { node: 'cellar' } });
      await page.locator('svg.map .spot', { hasText: 'cellar' }).waitFor({ state: 'detached' });
      for (let seq = 100; seq < 2_100; seq += 1) gateway.value(seq);
      await page.waitForFunction(() => [...document.querySelectorAll('.topic')].length === 1);
      gateway.tell({ gone: { topic: TOPIC } });
      await see(page, 'No values yet.');
    }));
  });
  await check('nothing yet', () => withFixture({ empty: true }, (gateway) => open(gateway.url, {}, async (page) => {
    await see(page, 'There are no nodes yet.');
    await see(page, 'Nothing is deployed yet.');
    await see(page, 'No values yet.');
    await shot(page, 'empty');
  })));
  await check('the line is lost', async () => {
    const gateway = await fixture();
    await open(gateway.url, {}, async (page) => {
      await overview(page);
      await gateway.close();
      await see(page, 'No line to the gateway since');
      await page.locator('main.stale').waitFor();
      // What was known is still there.
      await page.locator('svg.map').getByText('hall', { exact: true }).waitFor();
      await shot(page, 'lost');
    });
  });
}

await browser.close();
process.exitCode = failed ? 1 : 0;
