import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
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
