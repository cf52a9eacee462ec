// Own pages are scarce: plain memory, which is always copied, goes through an arena of 4 MiB, and
// whoever finds no page waits for one. 16 GiB are moved to a device that drops them; what is
// checked is that all of it ends, with nothing left behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB, PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { openNullEngine } from '../../src/engine/memory/null-engine.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { Arena } from '../../src/memory/arena.ts';

const TRANSFERS = 1000;
const BYTES = 16 * MIB;

test('1,000 copied transfers of 16 MiB at once through 4 MiB of own pages', async () => {
  const arena = new Arena({ maxBytes: 4 * MIB, label: 'low', places: false });
  const defer = (run: () => void): void => void setImmediate(run);
  const engine = openNullEngine({ sizeBytes: TRANSFERS * BYTES, defer, depth: 64 });
  const disk = new BlockDevice({ engine, arena });
  const view = new Uint8Array(MIB);
  let ended = 0;
  for (let i = 0; i < TRANSFERS; i++) {
    const iovec = new Iovec(16);
    assert.equal(iovec.importViews(new Array(BYTES / MIB).fill(view)), BYTES);
    const iter = new IovIter();
    iter.initBytes(IterDirection.SOURCE, iovec);
    disk.transfer(BioOp.WRITE, i * BYTES, iter, BYTES, {}, (_, result) => {
      assert.equal(result, BYTES);
      ended++;
    });
  }
  assert.equal(ended, 0);
  assert.equal(disk.transfersActive, TRANSFERS, 'all at once');
  assert.ok(disk.waiting.length >= TRANSFERS - 64, `${disk.waiting.length} wait for pages`);
  const { freeBytes } = arena.stats();
  assert.ok(freeBytes < 64 * PAGE_BYTES, `${freeBytes} bytes of own pages are left`);
  for (let turn = 0; ended < TRANSFERS; turn++) {
    assert.ok(turn < 1_000_000, 'it never ends');
    disk.poll();
  }
  assert.equal(disk.counters.bouncePages, 0);
  assert.equal(disk.counters.pagesHeld, 0);
  assert.equal(disk.queue.inFlight, 0);
  await disk.close();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
});
