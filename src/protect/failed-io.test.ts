import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Disk } from '../device/disk.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { layoutFor } from './open-store.ts';
import { stampBlock } from './power-cut.fuzz.ts';
import { makeMedia, openRig, RIG_FORMAT, rigArena } from './protect-rig.fuzz.ts';

const BLOCK = 4096;
const BLOCKS = 64;

function stamped(first: number, count: number, stamp: number): Uint8Array {
  const bytes = new Uint8Array(count * BLOCK);
  for (let i = 0; i < count; i++) {
    stampBlock(bytes.subarray(i * BLOCK, (i + 1) * BLOCK), first + i, stamp, 0);
  }
  return bytes;
}

/** The block, or the code of the error that its read ended with. */
async function readBlock(disk: Disk, block: number): Promise<Uint8Array | string> {
  try {
    const { buffer } = await disk.read(new Uint8Array(BLOCK), { position: block * BLOCK });
    return buffer;
  } catch (error) {
    assert(error instanceof BlockError);
    return error.code;
  }
}

function isCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof BlockError && error.code === code;
}

test('a write that failed leaves blocks old, new, or bad because they are torn', async () => {
  const media = await makeMedia();
  let isFailing = false;
  const failsData = (op: BioOp): number => (isFailing && op === BioOp.WRITE ? -Errno.EIO : 0);
  const { disk } = await openRig(media, { failsData });
  await disk.write(stamped(0, 12, 1), { position: 0 });
  isFailing = true;
  await assert.rejects(disk.write(stamped(0, 12, 2), { position: 0 }), isCode('EIO'));
  isFailing = false;
  const seen: (Uint8Array | string)[] = [];
  for (let block = 0; block < 12; block++) {
    const old = stamped(block, 1, 1);
    const now = media.data.slice(block * BLOCK, (block + 1) * BLOCK);
    const isWhole = same(now, old) || same(now, stamped(block, 1, 2));
    const read = await readBlock(disk, block);
    assert.deepEqual(read, isWhole ? now : 'EILSEQ');
    seen.push(read);
  }
  assert(seen.includes('EILSEQ'), 'no block was torn: the test shows nothing');
  await disk.close();
  const again = await openRig(media);
  for (let block = 0; block < 12; block++) {
    assert.deepEqual(await readBlock(again.disk, block), seen[block]);
  }
  await again.disk.write(stamped(0, 12, 3), { position: 0 });
  assert.deepEqual(await readBlock(again.disk, 5), stamped(5, 1, 3));
  await again.disk.close();
  rigArena.assertNothingOutstanding();
});

test('a record that cannot be written fails its write; the block stays good', async () => {
  const media = await makeMedia();
  const { logStart, logBytes } = layoutFor(media.data.length, RIG_FORMAT);
  let isFailing = false;
  const failsStore = (op: BioOp, start: number): number => {
    const isLog = start >= logStart && start < logStart + logBytes;
    return isFailing && isLog && op === BioOp.WRITE ? -Errno.EIO : 0;
  };
  for (const ordered of [false, true]) {
    const { disk } = await openRig(media, { failsStore, ordered });
    await disk.write(stamped(0, 2, 1), { position: 0 });
    isFailing = true;
    await assert.rejects(disk.write(stamped(0, 2, 2), { position: 0 }), isCode('EIO'));
    isFailing = false;
    // The data went out beside the record, or waited for it.
    assert.deepEqual(await readBlock(disk, 0), stamped(0, 1, ordered ? 1 : 2));
    await disk.write(stamped(0, 2, 3), { position: 0 });
    assert.deepEqual(await readBlock(disk, 1), stamped(1, 1, 3));
    await disk.close();
  }
  rigArena.assertNothingOutstanding();
});

test('a store that cannot be opened for writing refuses the first write', async () => {
  const media = await makeMedia();
  const failsStore = (op: BioOp): number => (op === BioOp.WRITE ? -Errno.EIO : 0);
  const { disk } = await openRig(media, { failsStore });
  await assert.rejects(disk.write(stamped(0, 1, 1), { position: 0 }), isCode('EIO'));
  assert(
    media.data.every((byte) => byte === 0),
    'data went out before its stretch was open',
  );
  assert.deepEqual(await readBlock(disk, 0), new Uint8Array(BLOCK));
  await disk.close();
  rigArena.assertNothingOutstanding();
});

test('a close that cannot commit says so, and the next opening mends it', async () => {
  const media = await makeMedia();
  const { logStart, logBytes } = layoutFor(media.data.length, RIG_FORMAT);
  let isFailing = false;
  const failsStore = (op: BioOp, start: number): number =>
    isFailing && op === BioOp.WRITE && start >= logStart + logBytes ? -Errno.EIO : 0;
  const { disk } = await openRig(media, { failsStore });
  await disk.write(stamped(3, 2, 1), { position: 3 * BLOCK });
  isFailing = true;
  await assert.rejects(disk.close(), isCode('EIO'));
  const again = await openRig(media);
  assert.equal(again.engine.recovery?.records, 2);
  assert.deepEqual(await readBlock(again.disk, 3), stamped(3, 1, 1));
  await again.disk.close();
  rigArena.assertNothingOutstanding();
});

test('tuples that cannot be read fail what needs them, and only as long as that', async () => {
  const media = await makeMedia();
  const first = await openRig(media);
  await first.disk.write(stamped(0, 2, 1), { position: 0 });
  await first.disk.close();
  let isFailing = true;
  const { logStart, logBytes } = layoutFor(media.data.length, RIG_FORMAT);
  const failsStore = (op: BioOp, start: number): number => {
    const isPage = start >= logStart + logBytes + 2 * BLOCK && start < media.store.length - BLOCK;
    return isFailing && op === BioOp.READ && isPage ? -Errno.EIO : 0;
  };
  const { disk } = await openRig(media, { failsStore });
  assert.equal(await readBlock(disk, 0), 'EIO');
  await assert.rejects(disk.write(stamped(0, 1, 2), { position: 0 }), isCode('EIO'));
  isFailing = false;
  assert.deepEqual(await readBlock(disk, 0), stamped(0, 1, 1));
  await disk.close();
  rigArena.assertNothingOutstanding();
});

test('random failures of both devices: what is read is right, or the read fails', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const media = await makeMedia({ format: { logBytes: 16384 } });
    const random = new SeededRandom(seed);
    const dice = (): number => (random.chance(0.03) ? -Errno.EIO : 0);
    let isQuiet = true;
    const fails = (): number => (isQuiet ? 0 : dice());
    const legal = Array.from({ length: BLOCKS }, () => new Set([0]));
    const hasFailed = new Set<number>();
    const options = { format: { logBytes: 16384 }, depth: 4 };
    const rig = await openRig(media, { ...options, failsData: fails, failsStore: fails });
    isQuiet = false;
    for (let stamp = 1; stamp <= 60; stamp++) {
      const first = random.below(BLOCKS - 4);
      const count = random.between(1, 4);
      let isDone = true;
      await rig.disk.write(stamped(first, count, stamp), { position: first * BLOCK }).catch(() => {
        isDone = false;
      });
      for (let block = first; block < first + count; block++) {
        if (isDone) {
          (legal[block] as Set<number>).clear();
          hasFailed.delete(block);
        } else hasFailed.add(block);
        (legal[block] as Set<number>).add(stamp);
      }
      if (random.chance(0.2)) await rig.disk.flush().catch(() => {});
    }
    await rig.disk.close().catch(() => {});
    const again = await openRig(media, options);
    for (let block = 0; block < BLOCKS; block++) {
      const read = await readBlock(again.disk, block);
      if (read === 'EILSEQ') {
        assert(hasFailed.has(block), `seed ${seed}: block ${block} is bad, and no write failed`);
        continue;
      }
      assert(read instanceof Uint8Array);
      if (hasFailed.has(block)) continue; // Perhaps torn, and taken as it was by a recovery.
      const [stamp = 0] = legal[block] as Set<number>;
      assert.deepEqual(read, stamped(block, 1, stamp), `seed ${seed}: block ${block}`);
    }
    await again.disk.close();
  }
  rigArena.assertNothingOutstanding();
});

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

test('two that write one store: whoever comes later to a mark or a commit is refused', async () => {
  const media = await makeMedia();
  const first = await openRig(media);
  const second = await openRig(media);
  await second.disk.write(stamped(1, 1, 1), { position: BLOCK });
  await assert.rejects(
    first.disk.write(stamped(2, 1, 1), { position: 2 * BLOCK }),
    isCode('EBUSY'),
  );
  await first.disk.close();
  const third = await openRig(media); // It takes the second for a dead one, and mends.
  await assert.rejects(second.disk.close(), isCode('EBUSY'));
  assert.deepEqual(await readBlock(third.disk, 1), stamped(1, 1, 1));
  await third.disk.close();
  rigArena.assertNothingOutstanding();
});

test('what a commit that was cut off left behind is never taken for a later one', async () => {
  const media = await makeMedia();
  const { logStart, logBytes } = layoutFor(media.data.length, RIG_FORMAT);
  const first = await openRig(media);
  await first.disk.write(stamped(0, 2, 1), { position: 0 });
  await first.disk.close();
  let isFailing = false;
  const failsStore = (op: BioOp, start: number): number => {
    const isSuperblock = start === 0 || start === media.store.length - BLOCK;
    return isFailing && op === BioOp.WRITE && isSuperblock ? -Errno.EIO : 0;
  };
  const second = await openRig(media, { failsStore });
  const { tail } = second.engine.tuples.log;
  await second.disk.write(stamped(0, 2, 1), { position: 0 }); // The bytes that are there.
  const before = media.store.slice();
  isFailing = true;
  await assert.rejects(second.disk.close(), isCode('EIO'));
  for (const at of [0, media.store.length - BLOCK]) {
    media.store.set(before.subarray(at, at + BLOCK), at); // Nothing of the failed write is there.
  }
  // Its table reached the medium, its records did not: only the mark, which had been flushed.
  media.store.fill(0, logStart + tail + 512, logStart + logBytes);
  for (let i = 0; i < 3; i++) {
    const { disk, engine } = await openRig(media);
    assert.equal(engine.recovery?.records, i === 0 ? 1 : undefined);
    assert.deepEqual(await readBlock(disk, 1), stamped(1, 1, 1));
    await disk.close();
  }
  rigArena.assertNothingOutstanding();
});

test('why a write below failed is said in words, where the number alone says little', async () => {
  const words = [
    [Errno.ENOSPC, 'ENOSPC', /a write of \d+ bytes at \d+ failed: no space left on the device/],
    [Errno.EDQUOT, 'EDQUOT', /a write of \d+ bytes at \d+ failed: the disk quota is used up/],
    [Errno.EROFS, 'EROFS', /a write of \d+ bytes at \d+ failed(?!:)/],
  ] as const;
  for (const [errno, code, message] of words) {
    const media = await makeMedia();
    let isFailing = false;
    const failsStore = (op: BioOp): number => (isFailing && op === BioOp.WRITE ? -errno : 0);
    const { disk } = await openRig(media, { failsStore });
    await disk.write(stamped(0, 2, 1), { position: 0 });
    isFailing = true; // The commit of the close.
    await assert.rejects(disk.close(), (error) => {
      assert(error instanceof BlockError && error.code === code);
      assert.match(error.message, message);
      return true;
    });
  }
  rigArena.assertNothingOutstanding();
});
