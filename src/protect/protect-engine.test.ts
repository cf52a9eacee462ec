import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { BioOp } from '../bio/bio-op.ts';
import { makeMedia, openRig, rigArena } from './protect-rig.fuzz.ts';

const BLOCK = 4096;

function pattern(bytes: number, salt: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + salt * 31 + (i >> 8)) & 0xff);
}

test('what was written is read, also after it was closed and opened again', async () => {
  const media = await makeMedia();
  const rig = await openRig(media);
  const bytes = pattern(5 * BLOCK, 1);
  await rig.disk.write(bytes, { position: 3 * BLOCK });
  const { buffer } = await rig.disk.read(new Uint8Array(9 * BLOCK), { position: BLOCK });
  assert.deepEqual(buffer.subarray(2 * BLOCK, 7 * BLOCK), bytes);
  assert(buffer.subarray(0, 2 * BLOCK).every((byte) => byte === 0));
  await rig.disk.flush();
  await rig.disk.close();
  assert.deepEqual(media.data.subarray(3 * BLOCK, 8 * BLOCK), bytes);
  const again = await openRig(media);
  assert.equal(again.engine.recovery, null);
  const read = await again.disk.read(new Uint8Array(5 * BLOCK), { position: 3 * BLOCK });
  assert.deepEqual(read.buffer, bytes);
  await again.disk.close();
  rigArena.assertNothingOutstanding();
});

test('a flipped bit is found', async () => {
  const media = await makeMedia();
  const rig = await openRig(media);
  await rig.disk.write(pattern(5 * BLOCK, 1), { position: 3 * BLOCK });
  await rig.disk.close();
  media.data[4 * BLOCK + 77] = (media.data[4 * BLOCK + 77] as number) ^ 4;
  const again = await openRig(media);
  const reading = again.disk.read(new Uint8Array(5 * BLOCK), { position: 3 * BLOCK });
  await assert.rejects(reading, (error: unknown) => {
    assert(error instanceof BlockError && error.code === 'EILSEQ');
    assert.match(error.reason, /^block 4: guard tag is 0x[0-9a-f]{16}, expected 0x/);
    return true;
  });
  await again.disk.close();
  rigArena.assertNothingOutstanding();
});

test('a MiB is one write of data and one of the log, a flush one of each device', async () => {
  const media = await makeMedia({ dataBytes: 4 << 20, format: { logBytes: 1 << 20 } });
  const calls: string[] = [];
  const note = (name: string) => (op: BioOp, start: number, bytes: number) => {
    if (op !== BioOp.READ) calls.push(`${name} ${op} ${start} ${bytes}`);
    return 0;
  };
  const { disk } = await openRig(media, { failsData: note('data'), failsStore: note('store') });
  using buffer = rigArena.alloc(1 << 20);
  const { bytes } = buffer;
  await disk.write(bytes, { position: 0 });
  calls.length = 0;
  await disk.write(bytes, { position: 1 << 20 });
  await disk.flush();
  const { WRITE, FLUSH } = BioOp;
  const expected = [
    `data ${FLUSH} 0 0`,
    `data ${WRITE} ${1 << 20} ${1 << 20}`,
    `store ${FLUSH} 0 0`,
    // Behind the mark of the stretch (512 bytes) and the first record: 64 + 256 tuples of 16.
    `store ${WRITE} ${4096 + 512 + 4608} 4608`,
  ];
  assert.deepEqual(calls.sort(), expected.sort());
  await disk.close();
});

test('tuples in memory are bounded: pages go and come, and a commit makes room', async () => {
  const format = { intervalBytes: 512, logBytes: 65536, stretchPages: 1 } as const;
  const media = await makeMedia({ dataBytes: 6000 * 512, format });
  const { disk, engine } = await openRig(media, { depth: 1, cachePages: 1 });
  const { cache } = engine.tuples;
  assert(cache.frames < engine.layout.pages, 'all pages fit: the test shows nothing');
  for (let round = 0; round < 3; round++) {
    for (let block = round; block < 6000; block += 200) {
      await disk.write(new Uint8Array(512).fill(block), { position: block * 512 });
      assert(cache.dirtyCount <= cache.frames);
    }
  }
  for (let block = 2; block < 6000; block += 200) {
    const { buffer } = await disk.read(new Uint8Array(512), { position: block * 512 });
    assert(buffer.every((byte) => byte === (block & 0xff)));
  }
  await disk.close();
});

test('writes that come while a commit is under way wait for it, each and every one', async () => {
  const media = await makeMedia({ format: { logBytes: 16384 } });
  const { disk, engine } = await openRig(media);
  const first = engine.tuples.superblock.sequence;
  for (let round = 0; round < 40; round++) {
    const running: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      const position = ((round * 13 + i) % 64) * BLOCK;
      running.push(disk.write(pattern(BLOCK, round + i), { position }));
      for (let turn = 0; turn < i; turn++) await Promise.resolve();
    }
    await Promise.all(running);
  }
  assert(engine.tuples.superblock.sequence - first > 15, 'too few commits: the test shows nothing');
  await disk.close();
});
