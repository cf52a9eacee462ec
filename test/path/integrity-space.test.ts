import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import type { AddressSpace } from '../../src/memory/address-space.ts';
import { maybePinned } from '../../src/memory/holds.ts';
import {
  coverMedium,
  PATH_FORMATS,
  type PathFormat,
  pathFormat,
  recordsOf,
} from './integrity-cases.ts';
import { BASE, bytesOf, UserRig } from './user-rig.ts';

// Metadata whose pages may fault, wait, or lie anywhere.

const CRC16 = PATH_FORMATS[0] as PathFormat;

describe('metadata in an address space', () => {
  function wishOf(space: AddressSpace, op: BioOp, at: number, bytes: number) {
    const iovec = new Iovec();
    iovec.importRanges([BASE + at], [bytes], 1);
    const iter = new IovIter();
    iter.initUser(op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE, space, iovec);
    return { iter, check: 0, appTag: 0, seed: 0 };
  }

  for (const copy of ['auto', 'always'] as const) {
    test(`copy '${copy}': a page that must be waited for parks the transfer`, async () => {
      await using rig = new UserRig(4, { ...CRC16 });
      coverMedium(rig);
      rig.makeWait(3);
      const metadata = wishOf(rig.space, BioOp.READ, 3 * 4096 + 100, 64);
      const ending = rig.start(BioOp.READ, 0, 0, 4096, { metadata, copy });
      await rig.finish();
      assert.equal(ending.result, null);
      assert.equal(rig.engine.log.length, 0);
      assert.equal(rig.device.bios.busyCount + (rig.device.metadata?.busyCount ?? 0), 0);
      assert.ok(!maybePinned(rig.frameAt(0)));
      rig.space.ready();
      await rig.finish();
      assert.equal(ending.result, 4096);
      assert.deepEqual(bytesOf(rig.frameAt(3), 100, 64), recordsOf(rig).bytes.slice(0, 64));
    });

    test(`copy '${copy}': a pin that ends in the middle is EFAULT without holds`, async () => {
      await using rig = new UserRig(2, { ...CRC16 });
      const metadata = wishOf(rig.space, BioOp.WRITE, 2 * 4096 - 32, 64);
      const ending = rig.start(BioOp.WRITE, 0, 0, 4096, { metadata, copy });
      await rig.finish();
      assert.equal(ending.result, -Errno.EFAULT);
      assert.ok(!maybePinned(rig.frameAt(1)) && !maybePinned(rig.frameAt(0)));
      assert.equal(rig.engine.log.length, 0);
    });
  }

  test('too many entries for the device: one copy, in few enough pieces', async () => {
    const format = pathFormat('crc16', 512, { rest: 1016 });
    const limits = { ...format.limits, max_integrity_segments: 2 };
    await using rig = new UserRig(12, { ...format, limits, arenaBytes: 2 ** 20 });
    coverMedium(rig);
    const metadata = wishOf(rig.space, BioOp.READ, 2 * 4096, 8 * 4096);
    const ending = rig.start(BioOp.READ, 0, 0, 2 * 4096, { metadata: { ...metadata } });
    await rig.finish();
    assert.equal(ending.result, 2 * 4096);
    const { counters } = rig.device.metadata ?? {};
    assert.deepEqual(counters?.copiedByReason(), { segments: 16 * 1024 });
    for (let page = 0; page < 4; page++) {
      const expected = recordsOf(rig).bytes.slice(page * 4096, (page + 1) * 4096);
      assert.deepEqual(bytesOf(rig.frameAt(2 + page)), expected);
    }
  });
});
