import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12, PROFILES } from '../../src/limits/profile.ts';
import { NO_MEMORY } from '../../src/map/map-context.ts';
import { PASSTHROUGH_RULES } from '../../src/map/passthrough/passthrough-rules.ts';
import { Verdict } from '../../src/map/verdict.ts';
import { copyOut } from '../../src/memory/copy.ts';
import { isDirty, pinPages, unpinPages } from '../../src/memory/holds.ts';
import {
  chainOf,
  deviceReads,
  deviceWrites,
  endRequest,
  judgeRows,
  PassthroughRig,
  pattern,
  rowsOf,
  type UserRange,
} from './passthrough-rig.ts';
import { type RequestCase, rangesIn, requestArb, totalOf } from './request-cases.fuzz.ts';

const runs = { numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50) };
const SMALL = { userPages: 256, ownPages: 512 };

function readAll(rig: PassthroughRig, ranges: readonly UserRange[]): Uint8Array {
  return Buffer.concat(ranges.map(([addr, len]) => rig.read(addr, len)));
}

function fillAll(rig: PassthroughRig, ranges: readonly UserRange[], seed: number): Uint8Array {
  return Buffer.concat(ranges.map(([addr, len], i) => rig.fill(addr, len, seed + i)));
}

/** One request of `one` from start to end. null when it was refused. */
function runOnce(
  one: RequestCase,
  copy: 'auto' | 'always',
  profile = DEFAULT_PROFILE,
): { device: Uint8Array; user: Uint8Array; verdict: Verdict } | null {
  using rig = new PassthroughRig({ ...SMALL, limits: one.limits, profile });
  const ranges = rangesIn(rig, one);
  fillAll(rig, ranges, 5);
  const chain = chainOf(one.op);
  const iter = rig.iter(one.op, ranges);
  if (rig.map(chain, iter, { copy }) !== 0) return null;
  assert.equal(iter.count, 0, 'the iterator is at its end');
  const { limits } = rig.context;
  const { segments, faults } = judgeRows(rowsOf(chain), limits);
  if (profile === DEFAULT_PROFILE) assert.deepEqual(faults, []);
  assert.ok(segments <= chain.segments, 'more segments than were counted');
  if (one.op === BioOp.READ) deviceWrites(chain, pattern(chain.bytes, 99));
  const device = deviceReads(chain);
  endRequest(chain);
  assert.equal(rig.unmap(chain), 0);
  return { device, user: readAll(rig, ranges), verdict: rig.outcome.verdict };
}

test('33: map and copy give the device and the program the same bytes, within all limits', () => {
  const verdicts = new Set<Verdict>();
  fc.assert(
    fc.property(requestArb, fc.constantFrom(...PROFILES), (one, profile) => {
      const auto = runOnce(one, 'auto');
      const always = runOnce(one, 'always');
      // Only what cannot be copied either is refused, so the two agree (but for the odd lists that
      // map where no chunks would fit).
      if (auto === null || always === null) return;
      verdicts.add(auto.verdict);
      assert.equal(always.verdict, Verdict.COPY);
      assert.deepEqual([always.device, always.user], [auto.device, auto.user]);
      const linux = runOnce(one, 'auto', profile);
      if (linux !== null) assert.deepEqual([linux.device, linux.user], [auto.device, auto.user]);
    }),
    runs,
  );
  assert.equal(verdicts.size, 2, 'some were mapped and some copied');
});

test('34: after unmap or any failure: no holds, own pages free, iterator as stated', () => {
  const results = new Map<number, number>();
  const shortArb = fc.record({
    hole: fc.option(fc.nat(71)),
    ownPages: fc.constantFrom(1, 4, 16, 512),
    bios: fc.constantFrom(0, 1, 8),
    issued: fc.boolean(),
  });
  fc.assert(
    fc.property(requestArb, shortArb, fc.constantFrom(...PROFILES), (one, short, profile) => {
      using rig = new PassthroughRig({ userPages: 256, ...short, limits: one.limits, profile });
      const ranges = rangesIn(rig, one);
      const before = fillAll(rig, ranges, 5);
      const chain = chainOf(one.op);
      const iter = rig.iter(one.op, ranges);
      const [first] = ranges[0] as UserRange;
      const hole = first - (first % PAGE_BYTES) + (short.hole ?? 0) * PAGE_BYTES;
      const isHole = short.hole !== null && rig.space.areaAt(hole) !== null;
      if (isHole) rig.space.munmap(hole, PAGE_BYTES);
      const result = rig.map(chain, iter);
      results.set(result, (results.get(result) ?? 0) + 1);
      if (result === 0) {
        assert.equal(iter.count, 0);
        if (short.issued) endRequest(chain);
        rig.unmap(chain, 0);
      } else {
        assert.equal(iter.count, totalOf(ranges));
        assert.deepEqual(
          [chain.bio, chain.bioTail, chain.bytes, chain.segments],
          [null, null, 0, 0],
        );
      }
      rig.assertNothingOutstanding();
      // Nothing was transferred: bytes are as before, but for kernels' cleared pages.
      const isLinux = profile !== DEFAULT_PROFILE;
      if (isHole || (isLinux && result === 0 && short.issued)) return;
      assert.deepEqual(Buffer.from(readAll(rig, ranges)), Buffer.from(before));
    }),
    runs,
  );
  for (const result of [0, -Errno.EINVAL, -Errno.EFAULT, -Errno.ENOMEM]) {
    assert.ok((results.get(result) ?? 0) > 0, `never ${result}`);
  }
  assert.equal(results.get(NO_MEMORY), undefined, 'nobody else would give pages back');
});

/** Chunks laid one after the other, each as long as the limits let it be. */
function chunksFit(bytes: number, limits: PassthroughRig['context']['limits']): boolean {
  const most = Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1);
  const edge = Math.max(limits.virt_boundary_mask, limits.dma_pad_mask) + 1;
  let left = bytes;
  for (let used = 0; used < limits.max_segments; used++) {
    if (left <= most) return true;
    const chunk = most - (most % edge);
    if (chunk === 0) return false;
    left -= chunk;
  }
  return false;
}

test('35: -EINVAL only above max_hw_sectors, or where no chunk satisfies the limits', () => {
  let refused = 0;
  fc.assert(
    fc.property(requestArb, (one) => {
      using rig = new PassthroughRig({ ...SMALL, limits: one.limits });
      const ranges = rangesIn(rig, one);
      const chain = chainOf(one.op);
      const result = rig.map(chain, rig.iter(one.op, ranges));
      const bytes = totalOf(ranges);
      const { limits } = rig.context;
      const isTooLong = bytes > limits.max_hw_sectors * 512;
      if (result === -Errno.EINVAL) {
        refused++;
        assert.ok(isTooLong || !chunksFit(bytes, limits), 'refused without need');
        return;
      }
      assert.equal(result, 0);
      assert.ok(!isTooLong);
      if (rig.outcome.verdict === Verdict.COPY) assert.ok(chunksFit(bytes, limits));
      rig.unmap(chain, 0);
    }),
    runs,
  );
  assert.ok(refused > 0);
});

const linuxArb = fc.constantFrom(LINUX_6_1, LINUX_6_12);
const shareArb = fc.integer({ min: 0, max: 1000 });

test('36: behind what the device wrote stand zeros or what was there, never old pages', () => {
  fc.assert(
    fc.property(
      requestArb,
      shareArb,
      shareArb,
      fc.constantFrom(...PROFILES),
      (one, a, b, profile) => {
        using rig = new PassthroughRig({ ...SMALL, limits: one.limits, profile });
        // Own pages are full of somebody's bytes.
        rig.soilOwnPages();
        const ranges = rangesIn(rig, one);
        const before = fillAll(rig, ranges, 5);
        const chain = chainOf(BioOp.READ);
        if (rig.map(chain, rig.iter(BioOp.READ, ranges), { copy: 'always' }) !== 0) return;
        const total = chain.bytes;
        const written = Math.floor((total * a) / 1000);
        const said = Math.floor((total * b) / 1000);
        const data = pattern(written, 77);
        deviceWrites(chain, data);
        endRequest(chain);
        assert.equal(rig.unmap(chain, said), 0);
        const expected = new Uint8Array(total);
        expected.set(data);
        if (profile === DEFAULT_PROFILE) expected.set(before.subarray(said), said);
        assert.deepEqual(Buffer.from(readAll(rig, ranges)), Buffer.from(expected));
      },
    ),
    runs,
  );
});

test('37: without the memory a kernel answers -EINTR and leaves it, if it was a copy', () => {
  fc.assert(
    fc.property(requestArb, linuxArb, (one, profile) => {
      using rig = new PassthroughRig({ ...SMALL, limits: one.limits, profile });
      const ranges = rangesIn(rig, one);
      const before = fillAll(rig, ranges, 5);
      const chain = chainOf(one.op);
      if (rig.map(chain, rig.iter(one.op, ranges)) !== 0) return;
      const isCopy = rig.outcome.verdict === Verdict.COPY;
      if (one.op === BioOp.READ) deviceWrites(chain, pattern(chain.bytes, 3));
      endRequest(chain);
      assert.equal(rig.unmap(chain, chain.bytes, false), isCopy ? -Errno.EINTR : 0);
      if (isCopy) assert.deepEqual(Buffer.from(readAll(rig, ranges)), Buffer.from(before));
    }),
    runs,
  );
});

test('37: here the pages are pinned, so bytes arrive though the process has gone', () => {
  fc.assert(
    fc.property(requestArb, fc.constantFrom('auto', 'always'), (one, copy) => {
      using rig = new PassthroughRig({ ...SMALL, limits: one.limits });
      const ranges = rangesIn(rig, one);
      const frames = ranges.map(([addr, len]) => framesUnder(rig, addr, len));
      const chain = chainOf(BioOp.READ);
      if (rig.map(chain, rig.iter(BioOp.READ, ranges), { copy: copy as 'auto' }) !== 0) return;
      // Somebody else has the pages as well, or the last unpin would free them.
      const held = frames.flat().map(([frame]) => frame);
      for (const frame of held) assert.equal(pinPages(frame, 1), 1);
      rig.space.exit();
      const data = pattern(chain.bytes, 3);
      deviceWrites(chain, data);
      endRequest(chain);
      assert.equal(rig.unmap(chain, chain.bytes, false), 0);
      assert.deepEqual(Buffer.concat(frames.map(bytesOf)), Buffer.from(data));
      assert.ok(
        held.every((frame) => isDirty(frame)),
        'dirty before the last unpin',
      );
      for (const frame of held) unpinPages(frame, 1);
    }),
    runs,
  );
});

type FramePiece = readonly [frame: number, offset: number, len: number];

function framesUnder(rig: PassthroughRig, addr: number, bytes: number): FramePiece[] {
  const pieces: FramePiece[] = [];
  for (let at = addr; at < addr + bytes; ) {
    const offset = at % PAGE_BYTES;
    const len = Math.min(PAGE_BYTES - offset, addr + bytes - at);
    pieces.push([rig.frameAt(at), offset, len]);
    at += len;
  }
  return pieces;
}

function bytesOf(pieces: readonly FramePiece[]): Buffer {
  return Buffer.concat(
    pieces.map(([frame, offset, len]) => {
      const out = new Uint8Array(len);
      copyOut(out, 0, frame, offset, len);
      return out;
    }),
  );
}

test('38: the first error is told, and all bios are processed', () => {
  const bioArb = fc.record({ first: fc.nat(2), second: fc.nat(2), profile: linuxArb });
  fc.assert(
    fc.property(bioArb, ({ first, second, profile }) => {
      const limits = { max_segments: 2000, max_hw_sectors: 8192, dma_alignment: 511 };
      using rig = new PassthroughRig({ limits, profile, userPages: 2048, ownPages: 2048 });
      const pages = 600; // Three bios of single pages that are no neighbours.
      using _odd = rig.fragment(1);
      const addr = rig.scattered(pages);
      const bytes = (pages - 1) * PAGE_BYTES;
      const chain = chainOf(BioOp.READ);
      assert.equal(rig.map(chain, rig.iter(BioOp.READ, [[addr + 4, bytes]])), 0);
      deviceWrites(chain, pattern(bytes, 3));
      const at = [first, second].map((bio) => addr + (bio * 256 + 10) * PAGE_BYTES);
      for (const hole of at) rig.space.munmap(hole, PAGE_BYTES);
      endRequest(chain);
      assert.equal(rig.unmap(chain), -Errno.EFAULT);
      rig.context.assertNothingOutstanding();
      // The other bios arrived: their last page has the device's bytes.
      for (const bio of [0, 1, 2].filter((index) => index !== first && index !== second)) {
        const last = Math.min((bio + 1) * 256, pages - 1) * PAGE_BYTES;
        const from = last - 100;
        assert.deepEqual(
          Buffer.from(rig.read(addr + 4 + from, 100)),
          Buffer.from(pattern(bytes, 3).subarray(from, last)),
        );
      }
    }),
    { numRuns: 9 },
  );
});

test('the fallback is a rule of its own: without it the same request is -EINVAL', () => {
  const rules = { ...PASSTHROUGH_RULES.biovec, wouldSplit: 'error' as const };
  const limits = { max_segments: 4, max_hw_sectors: 4096 };
  for (const [given, result] of [
    [rules, -Errno.EINVAL],
    [PASSTHROUGH_RULES.biovec, 0],
  ] as const) {
    using rig = new PassthroughRig({ ...SMALL, limits, rules: given });
    const chain = chainOf(BioOp.READ);
    const iter = rig.iter(BioOp.READ, [[rig.scattered(8), 8 * PAGE_BYTES]]);
    assert.equal(rig.map(chain, iter), result);
    if (result === 0) rig.unmap(chain, 0);
  }
});
