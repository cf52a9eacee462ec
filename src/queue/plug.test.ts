import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../bio/bio-op.ts';
import { validateLimits } from '../limits/validate.ts';
import { PLUG_FLUSH_BYTES, PLUG_REQUESTS_MAX } from './plug.ts';
import { QueueWorld, type Row } from './queue-world.fuzz.ts';
import type { Request } from './request.ts';

const PAGE = 4096;

function world(nomerges: 0 | 1 | 2 = 0, depth = 256): QueueWorld {
  return new QueueWorld({ limits: validateLimits({ max_hw_sectors: 1024, nomerges }), depth });
}

/** A write of `pages` scattered pages. */
function write(w: QueueWorld, sector: number, pages: number, first: number): void {
  const rows: Row[] = Array.from({ length: pages }, (_, i) => ({
    page: first + 2 * i,
    offset: 0,
    len: PAGE,
  }));
  w.submit(w.build(BioOp.WRITE, sector, rows));
}

function sectorsOf(w: QueueWorld): string[] {
  return w.issued.map((line) => line.split(' ')[1] ?? '');
}

test('without a plug every bio goes at once, with one nothing goes before its end', () => {
  const w = world();
  write(w, 0, 1, 0);
  assert.equal(w.issued.length, 1);
  w.queue.startPlug();
  write(w, 100, 1, 10);
  write(w, 200, 1, 20);
  assert.equal(w.issued.length, 1);
  w.queue.finishPlug();
  assert.equal(w.issued.length, 3);
  w.finish();
});

test('only the outermost plug issues, and ending more than began is a bug', () => {
  const w = world();
  w.queue.startPlug();
  w.queue.startPlug();
  write(w, 0, 1, 0);
  w.queue.finishPlug();
  assert.equal(w.issued.length, 0);
  write(w, 8, 1, 10);
  w.queue.finishPlug();
  assert.deepEqual(sectorsOf(w), ['0+16']);
  assert.throws(() => w.queue.finishPlug(), /finished twice/);
  w.finish();
});

test('the 33rd request makes a plug of 32 go', () => {
  const w = world();
  w.queue.startPlug();
  for (let i = 0; i < PLUG_REQUESTS_MAX; i++) write(w, i * 100, 1, 2 * i);
  assert.equal(w.issued.length, 0);
  write(w, 9000, 1, 900);
  assert.equal(w.issued.length, 32);
  w.queue.finishPlug();
  assert.equal(w.issued.length, 33);
  w.finish();
});

test('a request of 128 KiB makes the plug go when the next one comes', () => {
  const pages = PLUG_FLUSH_BYTES / PAGE;
  for (const [nomerges, expected] of [
    [0, 1],
    [1, 1],
    [2, 0],
  ] as const) {
    const w = world(nomerges);
    w.queue.startPlug();
    write(w, 0, pages, 0);
    assert.equal(w.issued.length, 0);
    write(w, 5000, 1, 1000);
    assert.equal(w.issued.length, expected, `nomerges ${nomerges}`);
    w.queue.finishPlug();
    w.finish();
  }
});

test('128 KiB counts the last request of the plug, grown by merges', () => {
  const w = world();
  w.queue.startPlug();
  for (let i = 0; i < 32; i++) write(w, i * 8, 1, 3 * i);
  write(w, 5000, 1, 1000);
  assert.deepEqual(sectorsOf(w), ['0+256']);
  write(w, 5008, 1, 1010);
  w.queue.finishPlug();
  assert.deepEqual(sectorsOf(w), ['0+256', '5000+16']);
  assert.equal(w.queue.counters.merges, 32);
  w.finish();
});

test('a bio joins the last request of the plug, behind or before it, and no other one', () => {
  const w = world();
  w.queue.startPlug();
  write(w, 100, 1, 0);
  write(w, 500, 1, 10);
  write(w, 492, 1, 20);
  write(w, 508, 1, 30);
  write(w, 108, 1, 40); // Meets the first one, which is not tried.
  w.queue.finishPlug();
  assert.deepEqual(sectorsOf(w), ['100+8', '492+24', '108+8']);
  w.finish();
});

test('nomerges 2 joins nothing', () => {
  const w = world(2);
  w.queue.startPlug();
  for (let i = 0; i < 4; i++) write(w, i * 8, 1, 3 * i);
  w.queue.finishPlug();
  assert.equal(w.issued.length, 4);
  w.finish();
});

/** `count` requests wait for room at the engine, at sectors 0, 1000, 2000 … */
function waiting(w: QueueWorld, count: number): void {
  w.accept = () => 0;
  for (let i = 0; i < count; i++) write(w, i * 1000, 1, 10 * i);
}

test('of the requests that wait for the engine, the last eight still grow', () => {
  const w = world();
  waiting(w, 10);
  write(w, 2008, 1, 500); // The eighth from the end.
  write(w, 1008, 1, 510); // The ninth.
  assert.equal(w.queue.counters.merges, 1);
  w.finish();
  assert.ok(sectorsOf(w).includes('2000+16'));
  assert.ok(sectorsOf(w).includes('1008+8'));
});

test('the newest is tried first, and nomerges 1 tries none of them', () => {
  for (const nomerges of [0, 1] as const) {
    const w = world(nomerges);
    w.accept = () => 0;
    write(w, 0, 1, 0);
    write(w, 16, 1, 10);
    write(w, 8, 1, 20); // Meets both: the newer one is 16+8, which it precedes.
    w.finish();
    const expected = nomerges === 0 ? ['0+8', '8+16'] : ['0+8', '16+8', '8+8'];
    assert.deepEqual(sectorsOf(w), expected);
  }
});

test('a waiting request that may not grow ends the search, and stays closed', () => {
  const w = new QueueWorld({ limits: validateLimits({ max_segments: 2 }) });
  w.accept = () => 0;
  write(w, 0, 1, 0); // Would take the third bio.
  write(w, 16, 2, 10); // Is met first, and is full.
  write(w, 8, 1, 20);
  assert.equal(w.queue.counters.merges, 0);
  w.finish();
  assert.deepEqual(sectorsOf(w), ['0+8', '16+16', '8+8']);
});

test('what waits goes before what comes later, also out of a plug', () => {
  const w = world();
  waiting(w, 3);
  w.queue.startPlug();
  write(w, 9000, 1, 600);
  w.accept = (count) => count;
  w.quietly(() => w.queue.finishPlug());
  assert.equal(w.issued.length, 0, 'the queue is resumed by a completion');
  w.turn();
  assert.deepEqual(sectorsOf(w), ['0+8', '1000+8', '2000+8', '9000+8']);
  w.finish();
});

test('more than one batch waits, and the engine takes one at a time', () => {
  const w = world();
  waiting(w, 100);
  w.accept = () => 1;
  w.turn();
  assert.equal(w.inFlight.length, 100);
  w.finish();
  assert.deepEqual(
    sectorsOf(w),
    Array.from({ length: 100 }, (_, i) => `${i * 1000}+8`),
  );
});

test('a requeued request waits behind the others, and still grows', () => {
  const w = world();
  write(w, 0, 2, 0);
  waiting(w, 0);
  write(w, 5000, 1, 50);
  w.complete(w.inFlight[0] as Request, PAGE);
  write(w, 16, 1, 90);
  assert.equal(w.queue.counters.merges, 1);
  w.finish();
  assert.deepEqual(sectorsOf(w), ['0+16', '5000+8', '8+16']);
});
