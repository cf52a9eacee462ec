import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { Arena, type Disk, open } from '../../src/index.ts';
import { nodeEnv } from '../../src/node/node-env.ts';

// What is left of a process after very many transfers, and after very many disks: descriptors,
// mappings, registered and pinned pages, threads, memory. Half a minute each; BIOVEC_IOS and
// BIOVEC_CYCLES make it shorter. Needs a kernel that allows io_uring.

const IOS = Number(process.env['BIOVEC_IOS'] ?? 10_000_000);
const CYCLES = Number(process.env['BIOVEC_CYCLES'] ?? 10_000);
const DEPTH = 32;
const BLOCK = 4096;
const FILE_BYTES = 64 * 2 ** 20;
const BLOCKS = FILE_BYTES / BLOCK;
/** Bytes of the heap after a collection that a million I/Os may add: noise of the collector. */
const HEAP_BYTES_PER_MILLION = 256 * 1024;

// A heap is compared after a collection, whatever flags this runs with.
v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc') as () => void;
const folder = fs.mkdtempSync(join(tmpdir(), 'biovec-endurance-'));
const path = join(folder, 'disk.img');

before(() => {
  assert.equal(ringState(nodeEnv()).isAvailable, true, ringState(nodeEnv()).reason);
  // Each block names itself, so that a read of the wrong one shows.
  const words = new Uint32Array(FILE_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.floor(i / (BLOCK / 4));
  fs.writeFileSync(path, words);
});
after(() => fs.rmSync(folder, { recursive: true }));

function statusKib(name: string): number {
  const status = fs.readFileSync('/proc/self/status', 'latin1');
  return Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0);
}

/** What a process may not keep more and more of. */
function possessions() {
  const links = fs.readdirSync('/proc/self/fd').map((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return 'the listing itself';
    }
  });
  return {
    descriptors: links.length,
    rings: links.filter((link) => link.includes('io_uring')).length,
    eventFds: links.filter((link) => link.includes('eventfd')).length,
    ringMappings: fs.readFileSync('/proc/self/maps', 'latin1').split('io_uring').length - 1,
    pinnedKib: statusKib('VmPin'),
  };
}

/** Descriptors of io_uring; libuv has some of its own. */
function ringFds(): readonly string[] {
  return fs.readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).includes('io_uring');
    } catch {
      return false;
    }
  });
}

/** What the kernel tells of the ring that came after `others`: entries, files, buffers, polls. */
function ringFacts(others: readonly string[]) {
  const fds = ringFds().filter((fd) => !others.includes(fd));
  assert.equal(fds.length, 1, 'one ring a thread');
  const text = fs.readFileSync(`/proc/self/fdinfo/${fds[0]}`, 'latin1');
  const number = (name: string): number => {
    const found = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)?.[1];
    assert(found !== undefined, `fdinfo has no ${name}:\n${text}`);
    return Number(found);
  };
  // Registered things are listed by index; an empty place is not, or is <none>.
  const listed = (name: string): number => {
    const section = text
      .slice(text.search(new RegExp(`^${name}:`, 'm')))
      .split('\n')
      .slice(1);
    const end = section.findIndex((line) => !/^\s*\d+:/.test(line));
    return section.slice(0, end).filter((line) => !line.includes('<none>')).length;
  };
  return {
    pendingEntries: number('SqTail') - number('SqHead'),
    untakenCompletions: number('CqTail') - number('CqHead'),
    files: listed('UserFiles'),
    buffers: listed('UserBufs'),
    polls: listed('PollList'),
    overflown: listed('CqOverflowList'),
  };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 100));
}

async function readMany(disk: Disk, arena: Arena, total: number): Promise<void> {
  let left = total;
  const reader = async (seed: number): Promise<void> => {
    using buffer = arena.alloc(BLOCK);
    const words = new Uint32Array(buffer.bytes.buffer, buffer.bytes.byteOffset, BLOCK / 4);
    let block = seed;
    while (left-- > 0) {
      block = (Math.imul(block, 1103515245) + 12345) & (BLOCKS - 1);
      const { bytesRead } = await disk.read(buffer.bytes, { position: block * BLOCK });
      if (bytesRead !== BLOCK || words[0] !== block) throw new Error(`block ${block} is wrong`);
    }
  };
  await Promise.all(Array.from({ length: DEPTH }, (_, i) => reader(i)));
}

test(`${IOS} cached reads leave nothing`, { timeout: 900_000 }, async (t) => {
  const atStart = possessions();
  const others = ringFds();
  const arena = new Arena({ maxBytes: 16 * 2 ** 20, places: false });
  const disk = await open(path, { readOnly: true, arena, engine: 'uring' });
  const warm = Math.min(IOS, 200_000);
  await readMany(disk, arena, warm);
  await settled();
  const facts = ringFacts(others);
  const warmed = possessions();
  assert(facts.buffers > 0, 'nothing is registered, so this shows nothing of registrations');
  collect();
  const heap = process.memoryUsage().heapUsed;
  const start = performance.now();
  await readMany(disk, arena, IOS);
  const seconds = (performance.now() - start) / 1000;
  await settled();
  collect();
  const growth = process.memoryUsage().heapUsed - heap;
  assert.deepEqual(ringFacts(others), facts, 'the ring');
  assert.deepEqual(possessions(), warmed, 'the process');
  disk.assertNothingOutstanding();
  assert.equal(arena.stats().pinnedPages, 0);
  await disk.close();
  arena.assertNothingOutstanding(); // Before the close the bounce pages of the disk are in use.
  arena[Symbol.dispose]();
  await settled();
  assert.deepEqual(possessions(), atStart, 'after the close');
  const perMillion = Math.round((growth / IOS) * 1e6);
  t.diagnostic(`${Math.round(IOS / seconds)} reads a second, heap ${perMillion} bytes per million`);
  if (IOS >= 1e6) assert(perMillion < HEAP_BYTES_PER_MILLION);
});

test(`${CYCLES} disks opened and closed leave nothing`, { timeout: 900_000 }, async (t) => {
  const arena = new Arena({ maxBytes: 16 * 2 ** 20, places: false });
  using buffer = arena.alloc(16 * BLOCK);
  const cycle = async (index: number): Promise<void> => {
    const direct = index % 2 === 1;
    const disk = await open(path, { arena, engine: 'uring', direct });
    // Often enough that memory is registered with this ring, which goes at the end.
    for (let i = 0; i < 10; i++) await disk.read(buffer.bytes, { position: (index % 64) * BLOCK });
    if (index % 16 === 0) {
      await disk.write(buffer.bytes, { position: (index % 64) * BLOCK });
      await disk.flush();
    }
    const pending = disk.read(buffer.bytes, 0, BLOCK, 0);
    await (index % 3 === 0 ? pending : Promise.all([pending, disk.read(buffer.bytes)]));
    disk.assertNothingOutstanding();
    await disk.close();
  };
  for (let i = 0; i < 50; i++) await cycle(i);
  await settled();
  const before = possessions();
  const rss = process.memoryUsage.rss();
  const start = performance.now();
  for (let i = 0; i < CYCLES; i++) await cycle(i);
  const seconds = (performance.now() - start) / 1000;
  await settled();
  assert.deepEqual(possessions(), before);
  assert.equal(arena.stats().pinnedPages, 0);
  const grownMib = (process.memoryUsage.rss() - rss) / 2 ** 20;
  const ms = ((seconds / CYCLES) * 1000).toFixed(2);
  t.diagnostic(`${ms} ms a cycle, RSS grew by ${grownMib.toFixed(1)} MiB`);
  assert(grownMib < 128, `RSS grew by ${grownMib} MiB`);
});

test('arenas that come and go beside an open disk leave nothing registered', async (t) => {
  const others = ringFds();
  const disk = await open(path, { readOnly: true, engine: 'uring' });
  const round = async (): Promise<void> => {
    const arena = new Arena({ maxBytes: 8 * 2 ** 20, places: false });
    {
      using buffer = arena.alloc(BLOCK);
      for (let i = 0; i < 20; i++) await disk.read(buffer.bytes, { position: i * BLOCK });
      assert(ringFacts(others).buffers > 0 && statusKib('VmPin') > 0, 'it was never registered');
    }
    arena[Symbol.dispose]();
  };
  await round();
  await settled();
  const rounds = Math.min(CYCLES, 500);
  for (let i = 0; i < rounds; i++) {
    await round();
    assert.equal(ringFacts(others).buffers, 0, 'at once, with the ring idle');
  }
  await settled();
  assert.equal(statusKib('VmPin'), 0);
  await disk.close();
  t.diagnostic(`${rounds} arenas`);
});
