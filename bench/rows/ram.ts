// The path without a medium: from submitBio to endIo on a RAM disk, one core, every byte checked.

import type { Bio } from '../../src/bio/bio.ts';
import { addSegment } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { Arena } from '../../src/memory/arena.ts';
import { copyPages, pagesAreEqual } from '../../src/memory/copy.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const DISK_BYTES = 8 * 1024 * 1024;
const DISK_BLOCKS = DISK_BYTES / 4096;
const BATCH = 32;
const ROUNDS = 7;

interface Case {
  readonly name: string;
  /** Pages of one read: scattered, so that each is a segment of its own. */
  readonly pages: number;
  readonly maxSegments: number;
  readonly reads: number;
  readonly target: number;
}

const CASES: readonly Case[] = [
  { name: 'ram-read-4k', pages: 1, maxSegments: 128, reads: 1_000_000, target: 1_000_000 },
  { name: 'ram-read-16k-split', pages: 4, maxSegments: 3, reads: 400_000, target: 300_000 },
];

class RamBench {
  readonly device: BlockDevice;
  readonly #case: Case;
  readonly #arena = new Arena({ maxBytes: 64 * 1024 * 1024 });
  readonly #pages: number[] = [];
  readonly #truth: number;
  #done = 0;
  #wrong = 0;
  #seed = 1;

  constructor(bench: Case) {
    this.#case = bench;
    const max_segments = bench.maxSegments;
    const limits = validateLimits({ max_segments, max_hw_sectors: 8192 });
    const defer = (run: () => void): void => void setImmediate(run);
    const engine = openRamEngine({ sizeBytes: DISK_BYTES, depth: 128, limits, defer });
    this.device = new BlockDevice({ engine, arena: this.#arena, defer });
    // Every second page, so that no two pages of a read are neighbours.
    for (let i = 0; i < BATCH * bench.pages; i++) this.#pages.push(this.#arena.getFolio(1));
    this.#truth = this.#arena.alloc(DISK_BYTES).page;
  }

  /** Fills the disk with numbered words and keeps a copy to compare with. */
  async fill(): Promise<void> {
    const words = new Uint32Array(DISK_BYTES / 4).map((_, i) => Math.imul(i, 2654435761));
    const truth = this.#arena.region.u8;
    const at = (this.#truth - this.#arena.region.firstPage) * 4096;
    truth.set(new Uint8Array(words.buffer), at);
    for (let block = 0; block < DISK_BLOCKS; block++) {
      const bio = this.#bio(BioOp.WRITE, block * 8, 1);
      addSegment(bio, this.#truth + block, 0, 4096, HoldKind.BORROWED);
      this.device.submitBio(bio);
      this.device.poll();
    }
  }

  #bio(op: BioOp, sector: number, vecs: number): Bio {
    const bio = this.device.bios.acquire(op, sector, vecs) as Bio;
    bio.endIo = this.#end;
    return bio;
  }

  readonly #end = (bio: Bio): void => {
    this.#done++;
    if (bio.op === BioOp.READ) this.#check(bio);
    this.device.bios.release(bio);
  };

  #check(bio: Bio): void {
    const block = this.#truth + (bio.owner as { block: number }).block;
    const { page } = bio.table;
    for (let i = 0; i < this.#case.pages; i++) {
      if (!pagesAreEqual(page[bio.first + i], 0, block + i, 0, 4096)) this.#wrong++;
    }
  }

  readonly #owners = Array.from({ length: BATCH }, () => ({ block: 0 }));

  /** Reads a second. */
  round(reads: number): number {
    const { pages } = this.#case;
    this.#done = 0;
    let sent = 0;
    const start = performance.now();
    while (this.#done < reads) {
      this.device.queue.startPlug();
      for (let i = 0; i < BATCH && sent < reads; i++, sent++) {
        this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) >>> 0;
        const block = (this.#seed >>> 8) % (DISK_BLOCKS - pages);
        const bio = this.#bio(BioOp.READ, block * 8, pages);
        const owner = this.#owners[i];
        if (owner === undefined) throw new Error('batch');
        owner.block = block;
        bio.owner = owner;
        for (let k = 0; k < pages; k++) {
          addSegment(bio, this.#pages[i * pages + k] ?? 0, 0, 4096, HoldKind.BORROWED);
        }
        this.device.submitBio(bio);
      }
      this.device.queue.finishPlug();
      this.device.poll();
    }
    const seconds = (performance.now() - start) / 1000;
    if (this.#wrong > 0) throw new Error(`${this.#wrong} pages were read wrong`);
    return reads / seconds;
  }

  /** Seconds that the bare copies and checks of so many reads take. */
  copySeconds(reads: number): number {
    const { pages } = this.#case;
    const start = performance.now();
    for (let i = 0; i < reads * pages; i++) {
      const page = this.#pages[i % this.#pages.length] ?? 0;
      copyPages(page, 0, this.#truth + (i % DISK_BLOCKS), 0, 4096);
    }
    return (performance.now() - start) / 1000;
  }
}

for (const bench of CASES) {
  const ram = new RamBench(bench);
  await ram.fill();
  const reads = Math.ceil(bench.reads * SCALE);
  ram.round(reads); // Warm-up: the compiler learns the path.
  const rates: number[] = [];
  for (let i = 0; i < ROUNDS; i++) rates.push(ram.round(reads));
  ram.copySeconds(reads);
  const copyNs = (ram.copySeconds(reads) / reads) * 1e9;
  const before = process.memoryUsage().heapUsed;
  ram.round(reads);
  const heap = process.memoryUsage().heapUsed - before;
  const { splits, bios } = ram.device.queue.counters;
  const notes = {
    'copy ns per read': Math.round(copyNs),
    'splits per bio': Math.round((splits / bios) * 100) / 100,
    'heap bytes per 1000 bios': Math.round((heap / reads) * 1000),
  };
  const ours = summarize(rates);
  printRow({ name: bench.name, unit: 'reads/s', ours, target: bench.target, notes });
}
