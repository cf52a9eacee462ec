import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { PI_TAG_NAMES, PiTag } from '../integrity/verify.ts';
import { forEachPageOf } from './data-pages.ts';
import { type Layout, TABLE_ENTRIES } from './layout.ts';
import { layoutFor } from './open-store.ts';
import { type Media, makeMedia, openRig, RIG_FORMAT, rigArena } from './protect-rig.fuzz.ts';
import { PageFault } from './seal.ts';

// Media are spoiled behind the library's back, after everything was closed. Each statement of
// docs/protect.md about what is found, and what is not, has a test here.

const BLOCK = 4096;
const BLOCKS = 600; // Three pages of tuples: 254, 254 and 92 blocks.

function layout(): Layout {
  return layoutFor(BLOCKS * BLOCK, RIG_FORMAT);
}

interface Found {
  readonly blocks: readonly number[];
  readonly tags: readonly string[];
  readonly pages: ReadonlyMap<number, PageFault>;
}

/** All bad blocks of an image. */
async function findBad(media: Media): Promise<Found> {
  const { engine, disk } = await openRig(media, { readOnly: true });
  const bad = new Map<number, PiTag>();
  await forEachPageOf(engine.tuples, 0, engine.layout.pages, null, (pages, index) =>
    pages.check(index, (block, fault) => bad.set(block, fault?.tag ?? PiTag.NONE)),
  );
  const pages = new Map(engine.tuples.cache.badPages);
  await disk.close();
  rigArena.assertNothingOutstanding();
  const blocks = [...bad.keys()].sort((a, b) => a - b);
  return { blocks, tags: blocks.map((block) => PI_TAG_NAMES[bad.get(block) as PiTag]), pages };
}

/** Writes version `stamp` of some blocks, and commits them. */
async function write(media: Media, first: number, count: number, stamp: number): Promise<void> {
  const { disk } = await openRig(media);
  const bytes = new Uint8Array(count * BLOCK);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (stamp * 37 + (i >> 3) + (i >> 12)) & 0xff;
  await disk.write(bytes, { position: first * BLOCK });
  await disk.close();
}

async function written(): Promise<Media> {
  const media = await makeMedia({ dataBytes: BLOCKS * BLOCK });
  await write(media, 0, BLOCKS, 1);
  assert.deepEqual((await findBad(media)).blocks, []);
  return media;
}

function copyOf(media: Media): Media {
  return { data: media.data.slice(), store: media.store.slice() };
}

function restore(into: Uint8Array, from: Uint8Array, start: number, bytes: number): void {
  into.set(from.subarray(start, start + bytes), start);
}

/** Every slot of tuple page `index` as it was. */
function restoreTuples(media: Media, old: Media, index: number): void {
  for (const slot of [0, 1]) {
    restore(media.store, old.store, layout().tuplePageAt(index, slot), PAGE_BYTES);
  }
}

function restoreTable(media: Media, old: Media): void {
  for (const slot of [0, 1]) {
    restore(media.store, old.store, layout().tablePageAt(0, slot), PAGE_BYTES);
  }
}

function pageBlocks(index: number): number[] {
  const first = layout().firstBlockOf(index);
  return Array.from({ length: layout().blocksOn(index) }, (_, i) => first + i);
}

test('a flipped bit, a burst, a torn block: found and named, and nothing else', async () => {
  const media = await written();
  media.data[7 * BLOCK + 4095] = (media.data[7 * BLOCK + 4095] as number) ^ 0x80;
  media.data.fill(0, 300 * BLOCK + 100, 300 * BLOCK + 164);
  const old = copyOf(media);
  await write(media, 500, 1, 2);
  restore(media.data, old.data, 500 * BLOCK + 512, 1024);
  const { blocks, tags } = await findBad(media);
  assert.deepEqual(blocks, [7, 300, 500]);
  assert.deepEqual(new Set(tags), new Set(['guard tag']));
});

test('swapped blocks, and a block that landed in another place, are all found', async () => {
  const media = await written();
  const seven = media.data.slice(7 * BLOCK, 8 * BLOCK);
  media.data.copyWithin(7 * BLOCK, 400 * BLOCK, 401 * BLOCK);
  media.data.set(seven, 400 * BLOCK);
  const old = copyOf(media);
  await write(media, 20, 1, 9);
  media.data.copyWithin(21 * BLOCK, 20 * BLOCK, 21 * BLOCK); // It went one block too far,
  restore(media.data, old.data, 20 * BLOCK, BLOCK); // and its own place kept what it had.
  assert.deepEqual((await findBad(media)).blocks, [7, 20, 21, 400]);
});

test('a lost data write is found', async () => {
  const media = await written();
  const old = copyOf(media);
  await write(media, 253, 3, 2);
  restore(media.data, old.data, 254 * BLOCK, BLOCK);
  assert.deepEqual((await findBad(media)).blocks, [254]);
});

test('a lost tuple write is found: the page is not of the generation of the table', async () => {
  const media = await written();
  await write(media, 4, 1, 2);
  const old = copyOf(media);
  await write(media, 4, 1, 3);
  restoreTuples(media, old, 0);
  const { blocks, pages } = await findBad(media);
  assert.deepEqual([...pages], [[0, PageFault.STALE]]);
  assert.deepEqual(blocks, pageBlocks(0));
});

test('a first tuple write that was lost is found too', async () => {
  const media = await makeMedia({ dataBytes: BLOCKS * BLOCK });
  const old = copyOf(media);
  await write(media, 300, 1, 1);
  restoreTuples(media, old, 1);
  const { blocks, pages } = await findBad(media);
  assert.deepEqual([...pages], [[1, PageFault.MISSING]]);
  assert.deepEqual(blocks, pageBlocks(1));
});

test('data and tuple lost together: the old pair fits, its generation does not', async () => {
  const media = await written();
  await write(media, 4, 1, 2);
  const old = copyOf(media);
  await write(media, 4, 1, 3);
  restore(media.data, old.data, 4 * BLOCK, BLOCK);
  restoreTuples(media, old, 0);
  const { blocks, pages } = await findBad(media);
  assert.deepEqual([...pages], [[0, PageFault.STALE]]);
  assert.deepEqual(blocks, pageBlocks(0));
});

test('the table lost as well: refused, because the superblock knows its root', async () => {
  const media = await written();
  const old = copyOf(media);
  await write(media, 4, 1, 3);
  restore(media.data, old.data, 4 * BLOCK, BLOCK);
  restoreTuples(media, old, 0);
  restoreTable(media, old);
  await assert.rejects(findBad(media), (error: unknown) => {
    assert(error instanceof BlockError && error.code === 'EILSEQ');
    assert.match(error.reason, /the table of generations is not the one of commit/);
    return true;
  });
  rigArena.assertNothingOutstanding();
});

test('everything lost, data, tuples, table and superblocks: not found', async () => {
  const media = await written();
  const old = copyOf(media);
  await write(media, 4, 1, 3);
  media.data.set(old.data);
  media.store.set(old.store);
  assert.deepEqual((await findBad(media)).blocks, []);
});

test('a damaged tuple page and a page in the place of another are found', async () => {
  const media = await written();
  const at = (index: number): number => layout().tuplePageAt(index, 1);
  const byte = at(2) + 100;
  media.store[byte] = (media.store[byte] as number) ^ 1;
  media.store.copyWithin(at(0), at(1), at(1) + PAGE_BYTES);
  const { blocks, pages } = await findBad(media);
  const sorted = [...pages].sort(([a], [b]) => a - b);
  assert.deepEqual(sorted, [
    [0, PageFault.FOREIGN],
    [2, PageFault.DAMAGED],
  ]);
  assert.deepEqual(blocks, [...pageBlocks(0), ...pageBlocks(2)]);
});

test('blocks whose tuples were lost are good again when they are written', async () => {
  const media = await written();
  media.store.fill(0xee, layout().tuplePageAt(1, 1), layout().tuplePageAt(1, 1) + PAGE_BYTES);
  await write(media, 300, 10, 5);
  const lost = pageBlocks(1).filter((block) => block < 300 || block >= 310);
  const { blocks, tags } = await findBad(media);
  assert.deepEqual(blocks, lost);
  assert.deepEqual(new Set(tags), new Set(['ref tag']));
});

test('tuples of another image are refused or bad throughout', async () => {
  const media = await written();
  const other = await makeMedia({ dataBytes: BLOCKS * BLOCK, seed: 99 });
  await write(other, 0, BLOCKS, 4);
  const mixed = { data: media.data, store: other.store };
  assert.equal((await findBad(mixed)).blocks.length, BLOCKS);
  const one = copyOf(media); // One page of another store: its seal has another salt.
  const at = layout().tuplePageAt(0, 1);
  restore(one.store, other.store, at, PAGE_BYTES);
  assert.deepEqual([...(await findBad(one)).pages], [[0, PageFault.DAMAGED]]);
  const short = { data: media.data.slice(0, 500 * BLOCK), store: media.store };
  await assert.rejects(findBad(short), /are the tuples of 2457600 bytes, but the data has 2048000/);
  rigArena.assertNothingOutstanding();
});

test('one superblock is enough; none is an error that says which', async () => {
  const media = await written();
  const ends = [0, media.store.length - PAGE_BYTES];
  for (const at of ends) {
    const one = copyOf(media);
    one.store[at + 60] = (one.store[at + 60] as number) ^ 1;
    // The other copy is of the commit before, or the mark of the session: recovery mends the rest.
    const { disk } = await openRig(one);
    await disk.read(new Uint8Array(BLOCKS * BLOCK), { position: 0 });
    await disk.close();
    assert.deepEqual((await findBad(one)).blocks, []);
  }
  const none = copyOf(media);
  for (const at of ends) none.store[at + 60] = (none.store[at + 60] as number) ^ 1;
  await assert.rejects(findBad(none), /its superblocks are damaged/);
  for (const at of ends) none.store.fill(0, at, at + PAGE_BYTES);
  await assert.rejects(findBad(none), /it is no store of tuples/);
  rigArena.assertNothingOutstanding();
});

test('a table has entries for as many pages as it says', () => {
  assert.equal(TABLE_ENTRIES, 508);
  assert.equal(layout().tablePages, 1);
});
