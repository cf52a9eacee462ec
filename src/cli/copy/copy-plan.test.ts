import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Extent, ExtentKind } from '../../engine/contract.ts';
import { allData, type Chunk, ChunkFeed, planCopy } from './copy-plan.ts';

const KIB = 1024;

async function* extentsOf(
  list: readonly (readonly [number, number, ExtentKind])[],
): AsyncGenerator<Extent> {
  for (const [start, end, kind] of list) yield { start, end, kind };
}

/** 'd0+8192 h8192+4096': data and holes by position and length. */
async function planText(extents: AsyncIterable<Extent>, size: number): Promise<string> {
  const parts: string[] = [];
  const options = { size, requestBytes: 64 * KIB, alignBytes: 4096 };
  for await (const { index, position, bytes, isHole } of planCopy(extents, options)) {
    assert.equal(index, parts.length, 'indices count up');
    parts.push(`${isHole ? 'h' : 'd'}${position}+${bytes}`);
  }
  return parts.join(' ');
}

test('data is rounded out to blocks and cut at multiples of a request', async () => {
  const size = 1024 * KIB + 9;
  const extents = extentsOf([
    [0, 5000, 'data'],
    [5000, 60 * KIB, 'hole'],
    [60 * KIB, 130 * KIB, 'data'],
    [130 * KIB, 1024 * KIB, 'zero'],
    [1024 * KIB, size, 'data'],
  ]);
  const expected = [
    'd0+8192',
    'h8192+53248',
    'd61440+4096 d65536+65536 d131072+4096',
    'h135168+913408',
    'd1048576+9',
  ];
  assert.equal(await planText(extents, size), expected.join(' '));
});

test('neighbours that meet in one block are read once', async () => {
  const extents = extentsOf([
    [0, 100, 'data'],
    [100, 200, 'hole'],
    [200, 300, 'data'],
    [300, 10_000, 'hole'],
  ]);
  assert.equal(await planText(extents, 10_000), 'd0+4096 h4096+5904');
});

test('what extents leave out at the end is a hole; nothing plans nothing', async () => {
  assert.equal(await planText(extentsOf([]), 5000), 'h0+5000');
  assert.equal(await planText(allData(0), 0), '');
  assert.equal(await planText(allData(65_537), 65_537), 'd0+65536 d65536+1');
});

/** Chunks 0, 1, 2, which come late. */
async function* latePlan(fails: boolean): AsyncGenerator<Chunk> {
  for (let index = 0; index < 3; index++) {
    await new Promise(setImmediate);
    yield { index, position: index, bytes: 1, isHole: false };
  }
  if (fails) throw new Error('no more extents');
}

test('a feed asks its plan once at a time, for any number who wait', async () => {
  const plan = latePlan(false);
  let outstanding = 0;
  let most = 0;
  const counted = {
    next: async (): Promise<IteratorResult<Chunk>> => {
      most = Math.max(most, ++outstanding);
      const result = await plan.next();
      outstanding--;
      return result;
    },
  };
  const feed = new ChunkFeed(counted);
  const chunks = await Promise.all(Array.from({ length: 6 }, () => feed.next()));
  assert.deepEqual(
    chunks.map((chunk) => chunk?.index ?? null),
    [0, 1, 2, null, null, null],
  );
  assert.equal(most, 1);
});

test('a plan that fails rejects for one and is at its end for the others', async () => {
  const feed = new ChunkFeed(latePlan(true));
  const given = await Promise.allSettled(Array.from({ length: 6 }, () => feed.next()));
  assert.deepEqual(
    given.map((one) => (one.status === 'rejected' ? one.reason.message : one.value?.index)),
    [0, 1, 2, 'no more extents', undefined, undefined],
  );
});
