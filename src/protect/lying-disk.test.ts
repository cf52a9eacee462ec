import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { type Media, makeMedia, openRig, rigArena } from './protect-rig.fuzz.ts';

// A disk acknowledges a write and a flush, loses the write, and then the power goes: the worst case
// of a recovery, which sees an old block beside an old tuple. What docs/protect.md says of it.

const BLOCK = 4096;
const FIVE = 5 * BLOCK;

function block(value: number): Uint8Array {
  return new Uint8Array(BLOCK).fill(value);
}

/** Block 5 is written twice and flushed each time; its second write is lost. */
async function loseSecondWrite(ordered: boolean, writesOn: boolean): Promise<Media> {
  const media = await makeMedia();
  const { disk } = await openRig(media, { ordered });
  await disk.write(block(1), { position: FIVE });
  await disk.flush();
  await disk.write(block(2), { position: FIVE });
  await disk.flush();
  if (writesOn) await disk.write(block(3), { position: 40 * BLOCK });
  const left = { data: media.data.slice(), store: media.store.slice() };
  left.data.set(block(1), FIVE);
  await disk.close();
  return left;
}

test('a flushed write that was lost is named, when the log went on after the flush', async () => {
  const left = await loseSecondWrite(false, true);
  const { disk, engine } = await openRig(left);
  assert.deepEqual(engine.recovery?.unlogged, [5]);
  assert.deepEqual((await disk.read(block(0), { position: FIVE })).buffer, block(1));
  await disk.close();
  rigArena.assertNothingOutstanding();
});

test('with records before data it is bad, and stays so until it is written', async () => {
  const left = await loseSecondWrite(true, true);
  for (let i = 0; i < 2; i++) {
    const { disk, engine } = await openRig(left, { ordered: true });
    assert.deepEqual(engine.recovery?.bad ?? [5], [5]);
    await assert.rejects(disk.read(block(0), { position: FIVE }), (error: unknown) => {
      assert(error instanceof BlockError && error.code === 'EILSEQ');
      assert.match(error.reason, /^block 5: guard tag/);
      return true;
    });
    await disk.close();
  }
  const { disk } = await openRig(left);
  await disk.write(block(9), { position: FIVE });
  assert.deepEqual((await disk.read(block(0), { position: FIVE })).buffer, block(9));
  await disk.close();
  rigArena.assertNothingOutstanding();
});

test('it is not found when the log ends with the flush: the old block fits', async () => {
  const left = await loseSecondWrite(false, false);
  const { disk, engine } = await openRig(left);
  assert.deepEqual(engine.recovery?.unlogged, []);
  assert.deepEqual((await disk.read(block(0), { position: FIVE })).buffer, block(1));
  await disk.close();
  rigArena.assertNothingOutstanding();
});

test('damage in an open stretch: taken and named; bad with records before data', async () => {
  for (const ordered of [false, true]) {
    const media = await makeMedia();
    const { disk } = await openRig(media, { ordered });
    await disk.write(block(1), { position: FIVE });
    await disk.flush();
    const left = { data: media.data.slice(), store: media.store.slice() };
    await disk.close();
    left.data[9 * BLOCK] = 1; // It was zeros, and nobody wrote it.
    const again = await openRig(left, { ordered });
    assert.deepEqual(again.engine.recovery?.unlogged, ordered ? [] : [9]);
    assert.deepEqual(again.engine.recovery?.bad, ordered ? [9] : []);
    await again.disk.close();
  }
  rigArena.assertNothingOutstanding();
});
