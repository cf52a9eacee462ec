import { SECTOR_BYTES } from '../../../base/units.ts';
import { BioOp } from '../../../bio/bio-op.ts';
import { BlockAllocator } from '../../../cache/block-allocator.ts';
import { BlockDevice } from '../../../device/block-device.ts';
import type { Limits } from '../../../limits/limits.ts';
import { presetLimits } from '../../../limits/presets.ts';
import type { Arena } from '../../../memory/arena.ts';
import type { Request } from '../../../queue/request.ts';
import { CheckedEngine } from '../checked-engine.ts';
import { FaultPlan, type FaultRates, NO_FAULTS } from '../fault-plan.ts';
import { randomLimits } from '../random-limits.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { SimClock } from '../sim-clock.ts';
import { SimEngine } from '../sim-engine.ts';

/** Blocks of a file system. */
export const FILE_BLOCK_BYTES = 4096;

export interface DiskOptions {
  readonly index: number;
  readonly clock: SimClock;
  readonly arena: Arena;
  /** The world's numbers: the fate of a request is decided by the step that submits it. */
  readonly random: SeededRandom;
  readonly rates: FaultRates;
  readonly plainLimits: boolean;
  readonly largePools: boolean;
  /** Blocks for files, then blocks that are used raw. */
  readonly fileBlocks: number;
  readonly rawBlocks: number;
  readonly onSpoil: (disk: PathDisk, start: number, bytes: number) => void;
  readonly onTouch: (disk: PathDisk, request: Request, isMoved: boolean) => void;
}

/** A faulty disk, the device on it, and the free blocks for the files on it. */
export class PathDisk {
  readonly index: number;
  readonly engine: SimEngine;
  readonly checked: CheckedEngine;
  readonly device: BlockDevice;
  readonly blocks: BlockAllocator;
  /** Where the raw range starts. */
  readonly rawStart: number;
  readonly hasErrors: boolean;

  constructor(options: DiskOptions) {
    const { random, clock, arena, rates } = options;
    this.index = options.index;
    const limits = options.plainLimits ? presetLimits('unlimited') : fileLimits(random);
    const pools = options.largePools ? [64, 64, 32] : [random.pick([1, 2, 8, 64]), 0, 0];
    const [bios, splits, depth] = options.largePools
      ? pools
      : [pools[0], random.pick([0, 1, 64]), random.pick([1, 2, 8, 32])];
    this.engine = new SimEngine({
      seed: options.index,
      clock,
      limits,
      sizeBytes: (options.fileBlocks + options.rawBlocks) * FILE_BLOCK_BYTES,
      depth,
      plan: new FaultPlan(random, rates),
      random,
      onSpoil: (start, bytes) => options.onSpoil(this, start, bytes),
      onTouch: (request, isMoved) => options.onTouch(this, request, isMoved),
    });
    this.checked = new CheckedEngine(this.engine);
    this.device = new BlockDevice({
      engine: this.checked,
      arena,
      limits,
      bios,
      splits,
      defer: clock.defer,
    });
    this.blocks = new BlockAllocator(options.fileBlocks);
    this.rawStart = options.fileBlocks * FILE_BLOCK_BYTES;
    this.hasErrors = rates !== NO_FAULTS;
  }
}

/** A file system writes whole blocks of 4 KiB, so a device must take those. */
function fileLimits(random: SeededRandom): Limits {
  return randomLimits(random);
}

/** Every request that writes: what is looked at for stable pages. */
export function isWrite(request: Request): boolean {
  return request.op === BioOp.WRITE;
}

export function requestStart(request: Request): number {
  return request.sector * SECTOR_BYTES;
}
