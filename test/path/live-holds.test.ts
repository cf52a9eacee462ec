import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { Bio } from '../../src/bio/bio.ts';
import { addSegment, releasePages } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { physicalAddress, physMergeable } from '../../src/bvec/contiguity.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import {
  getPages,
  HoldKind,
  isDirty,
  pinCount,
  pinPages,
  refCount,
} from '../../src/memory/holds.ts';
import { PathRig } from './path-rig.ts';
import { ScriptedEngine } from './scripted-engine.ts';
import { BASE, bytesOf, fillFrame, UserRig } from './user-rig.ts';

// Who holds which page now, and in which way: one bio may mix the ways.

const { READ, WRITE } = BioOp;
const { PINNED, REFERENCED, BORROWED, OWNED } = HoldKind;

test('D3: four kinds in one bio are four rows, one range of memory, and four endings', async () => {
  await using rig = new PathRig({ limits: { max_segments: 4, virt_boundary_mask: 4095 } });
  const head = rig.arena.getFolio(2);
  const bio = rig.device.bios.acquire(READ, 0, 4) as Bio;
  assert.equal(pinPages(head, 1), 1);
  assert.equal(getPages(head + 1, 1), 1);
  for (const [i, kind] of [PINNED, REFERENCED, BORROWED, OWNED].entries()) {
    assert.equal(addSegment(bio, head + i, 0, PAGE_BYTES, kind), PAGE_BYTES);
  }
  assert.equal(bio.vcnt, 4);
  for (let row = bio.first; row < bio.first + 3; row++) {
    // What a scatterlist asks does not look at the hold. (The split counts entries, as Linux does.)
    const [here, next] = [physicalAddress(bio.table, row), physicalAddress(bio.table, row + 1)];
    assert.ok(physMergeable(here, PAGE_BYTES, next, PAGE_BYTES, 2 ** 32 - 1));
  }
  let ended = 0;
  bio.endIo = (one) => {
    ended++;
    assert.equal(one.status, 0);
    assert.deepEqual([pinCount(head), refCount(head)], [1, 2]);
    releasePages(one, true);
    assert.deepEqual([pinCount(head), refCount(head)], [0, 1], 'who owns a page frees it');
    rig.device.bios.release(one);
  };
  rig.device.submitBio(bio);
  await rig.settle();
  assert.equal(rig.engine.holds, 1);
  await rig.finish();
  assert.equal(ended, 1);
  const memory = [0, 1, 2, 3].flatMap((i) => [...bytesOf(head + i)]);
  assert.deepEqual(memory, [...rig.medium(0, 4 * PAGE_BYTES)]);
  rig.arena.putFolio(head);
});

test('D3: only pinned and referenced rows are made dirty', async () => {
  await using rig = new PathRig();
  const pages = [0, 1, 2, 3].map(() => rig.arena.getFolio(0));
  const bio = rig.device.bios.acquire(READ, 0, 4) as Bio;
  pinPages(pages[0] as number, 1);
  getPages(pages[1] as number, 1);
  for (const [i, kind] of [PINNED, REFERENCED, BORROWED, OWNED].entries()) {
    addSegment(bio, pages[i] as number, 0, 512, kind);
  }
  releasePages(bio, true);
  assert.deepEqual(
    pages.map((page) => isDirty(page)),
    [true, true, false, false],
  );
  rig.device.bios.release(bio);
  for (const page of pages) rig.arena.putFolio(page);
});

test('ranges of the kernel go through: listed, not held, not dirty', async () => {
  for (const copy of ['auto', 'always'] as const) {
    for (const op of [READ, WRITE]) {
      await using rig = new UserRig(2);
      for (let i = 0; i < 2; i++) fillFrame(rig.frameAt(i), 0x50 + i);
      const iovec = new Iovec();
      iovec.importRanges([BASE + 512], [4096], 1);
      const iter = new IovIter();
      iter.initKernel(op === READ ? IterDirection.DEST : IterDirection.SOURCE, rig.space, iovec);
      let result = 0;
      rig.device.transfer(op, 0, iter, 4096, { copy }, (_, bytes) => {
        result = bytes;
      });
      await rig.settle();
      assert.equal(rig.device.counters.pagesHeld, 0);
      assert.deepEqual([pinCount(rig.frameAt(0)), rig.space.holdCalls], [0, 0]);
      await rig.finish();
      assert.equal(result, 4096);
      const memory = [...bytesOf(rig.frameAt(0), 512, 3584), ...bytesOf(rig.frameAt(1), 0, 512)];
      assert.deepEqual(memory, [...rig.medium(0, 4096)]);
      assert.ok(!isDirty(rig.frameAt(0)));
    }
  }
});

test('holds: every range that a transfer holds, by whom and since when', async () => {
  let now = 1000;
  await using rig = new UserRig(2);
  const engine = new ScriptedEngine({ sizeBytes: 65536 });
  const device = new BlockDevice({ engine, arena: rig.arena, nowNs: () => now });
  assert.deepEqual([...device.holds()], []);
  const ends: number[] = [];
  const end = (_: unknown, result: number): void => void ends.push(result);

  using buffer = rig.arena.alloc(2 * PAGE_BYTES);
  const iter = new IovIter();
  iter.initUserRange(IterDirection.DEST, rig.space, BASE + 512, 4096);
  device.transfer(READ, 4096, iter, 4096, { traceId: 77 }, end);
  now = 2000;
  iter.initUserRange(IterDirection.DEST, rig.space, BASE, 512);
  device.transfer(READ, 8192, iter, 512, { copy: 'always' }, end);
  now = 3000;
  iter.initView(IterDirection.DEST, buffer.bytes.subarray(100, 612));
  device.transfer(READ, 512, iter, 512, { copy: 'always' }, end);
  device.transfer(BioOp.DISCARD, 0, null, 4096, {}, end);

  const held = [...device.holds()];
  const mine = (page: number, kind: string) => {
    const [one, ...more] = held.filter((hold) => hold.page === page && hold.kind === kind);
    assert.ok(one !== undefined);
    return [one, ...more];
  };
  const [mapped, copied] = mine(rig.frameAt(0), 'pinned');
  assert.deepEqual(
    [mapped?.pages, mapped?.by, mapped?.sinceNs, mapped?.traceId],
    [1, 'read 4 KiB at 4096', 1000, 77],
  );
  assert.deepEqual([copied?.by, copied?.sinceNs], ['read 512 B at 8192', 2000]);
  assert.notEqual(mapped?.transferId, copied?.transferId);
  const [arena] = mine(buffer.page, 'pinned');
  assert.deepEqual([arena?.pages, arena?.by, arena?.sinceNs], [1, 'read 512 B at 512', 3000]);
  assert.equal(held.filter(({ kind }) => kind === 'owned').length, 2);
  let pages = 0;
  for (const hold of held) if (hold.kind === 'pinned') pages += hold.pages;
  assert.equal(pages, device.counters.pagesHeld);

  await rig.settle();
  engine.finishAll();
  await rig.settle();
  assert.deepEqual(ends.length, 4);
  assert.deepEqual([...device.holds()], []);
  device.assertNothingOutstanding();
  await device.close();
});
