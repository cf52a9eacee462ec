// Single layers: pages of forEachPage, and how split and merge grow with the size of their input.

import type { Bio } from '../../src/bio/bio.ts';
import { addSegment } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { openNullEngine } from '../../src/engine/memory/null-engine.ts';
import { ForEachPageResult, forEachPage, Verdict } from '../../src/iter/for-each-page.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { MappedSpace } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { printRow, SCALE } from '../row.ts';
import { exponent, summarize } from '../stats.ts';

const ROUNDS = 15;
const defer = (run: () => void): void => void setImmediate(run);

function forEachPageRow(): void {
  const arena = new Arena({ maxBytes: 64 * 1024 * 1024 });
  const space = new MappedSpace();
  const pages = 256;
  for (let i = 0; i < pages; i++) space.map(i * 4096, arena.getFolio(1));
  const iter = new IovIter();
  const result = new ForEachPageResult();
  const options = { hold: HoldKind.PINNED, folioRuns: false, batch: 64, signal: null };
  const drop = (): number => Verdict.DROP;
  const calls = Math.ceil(2000 * SCALE);
  const round = (): number => {
    const start = performance.now();
    for (let i = 0; i < calls; i++) {
      iter.initUserRange(IterDirection.DEST, space, 0, pages * 4096);
      forEachPage(iter, pages * 4096, drop, null, options, result);
    }
    return ((performance.now() - start) * 1e6) / (calls * pages);
  };
  for (let i = 0; i < 3; i++) round();
  const ours = summarize(Array.from({ length: ROUNDS }, round));
  const notes = { holds: 'pinned and dropped, order 0, batch 64' };
  printRow({ name: 'for-each-page', unit: 'ns/page', ours, lessIsBetter: true, notes });
}

function makeDevice(max_segments: number, arena: Arena): BlockDevice {
  const limits = validateLimits({ max_segments, max_hw_sectors: 65536 });
  const engine = openNullEngine({ sizeBytes: 2 ** 40, depth: 4096, limits, defer, zero: false });
  return new BlockDevice({ engine, arena, defer, bios: 4096, splits: 4096 });
}

/** Time of one bio of n scattered pages that is cut into n / 2 requests. */
function splitRow(): void {
  const arena = new Arena({ maxBytes: 64 * 1024 * 1024 });
  const device = makeDevice(2, arena);
  const pages = Array.from({ length: 256 }, () => arena.getFolio(1));
  const end = (bio: Bio): void => device.bios.release(bio);
  const run = (count: number): void => {
    const bio = device.bios.acquire(BioOp.WRITE, 0, count) as Bio;
    for (let i = 0; i < count; i++) addSegment(bio, pages[i] ?? 0, 0, 4096, HoldKind.BORROWED);
    bio.endIo = end;
    device.queue.startPlug();
    device.submitBio(bio);
    device.queue.finishPlug();
    while (device.bios.busyCount > 0) device.poll();
  };
  growthRow('split-growth', [8, 16, 32, 64, 128, 256], run);
}

/** Time of n bios of one page that all join one request. */
function mergeRow(): void {
  const arena = new Arena({ maxBytes: 64 * 1024 * 1024 });
  const device = makeDevice(65535, arena);
  const pages = Array.from({ length: 2048 }, () => arena.getFolio(1));
  const end = (bio: Bio): void => device.bios.release(bio);
  const run = (count: number): void => {
    device.queue.startPlug();
    for (let i = 0; i < count; i++) {
      const bio = device.bios.acquire(BioOp.WRITE, i * 8, 1) as Bio;
      addSegment(bio, pages[i] ?? 0, 0, 4096, HoldKind.BORROWED);
      bio.endIo = end;
      device.submitBio(bio);
    }
    device.queue.finishPlug();
    while (device.bios.busyCount > 0) device.poll();
  };
  growthRow('merge-growth', [64, 128, 256, 512, 1024, 2048], run);
}

function growthRow(name: string, sizes: readonly number[], run: (count: number) => void): void {
  const exponents: number[] = [];
  const perItem: number[] = [];
  for (let i = 0; i < 400; i++) for (const size of sizes) run(size);
  for (let round = 0; round < ROUNDS; round++) {
    const times = sizes.map((size) => {
      const calls = Math.ceil((200_000 * SCALE) / size);
      const start = performance.now();
      for (let i = 0; i < calls; i++) run(size);
      return ((performance.now() - start) * 1e6) / calls;
    });
    exponents.push(exponent(sizes, times));
    perItem.push((times[times.length - 1] ?? 0) / (sizes[sizes.length - 1] ?? 1));
  }
  const ns = Math.round(summarize(perItem).median);
  const notes = { sizes: sizes.join(' '), 'ns per segment or bio at the largest': ns };
  const ours = summarize(exponents);
  printRow({ name, unit: 'exponent', ours, target: 1.1, lessIsBetter: true, notes });
}

forEachPageRow();
splitRow();
mergeRow();
