import { assert } from '../../../base/assert.ts';
import { BlockDevice } from '../../../device/block-device.ts';
import { integrityLimits } from '../../../integrity/integrity-limits.ts';
import {
  CSUMS,
  IntegrityFlag,
  type IntegrityProfile,
  validateIntegrity,
} from '../../../integrity/integrity-profile.ts';
import { validateLimits } from '../../../limits/validate.ts';
import { Arena } from '../../../memory/arena.ts';
import type { Request } from '../../../queue/request.ts';
import { CheckedEngine } from '../checked-engine.ts';
import { FaultPlan, type FaultRates, NO_FAULTS } from '../fault-plan.ts';
import { randomLimits } from '../random-limits.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SimClock } from '../sim-clock.ts';
import { SimEngine } from '../sim-engine.ts';
import { SimMemory } from '../sim-memory.ts';
import { fillPattern } from '../sim-op.ts';
import { Tally } from '../tally.ts';
import type { World, WorldSettings } from '../world.ts';
import { TupleProcesses } from './tuple-processes.ts';
import { TupleWorkload } from './tuple-workload.ts';

export interface TupleOptions {
  readonly seed: number;
  readonly settings: WorldSettings;
}

const ARENA_BYTES = 16 * 2 ** 20;
const PAGE_ORDER = 0;

/**
 * A disk that keeps tuples, and programs that let the block layer make them or bring their own. One
 * seed decides format, limits, faults, memory, pools, and every operation.
 */
export class TupleWorld implements World {
  readonly clock = new SimClock();
  readonly arena = new Arena({ label: 'tuples', maxBytes: ARENA_BYTES, places: false });
  readonly engine: SimEngine;
  readonly checked: CheckedEngine;
  readonly device: BlockDevice;
  readonly memory: SimMemory;
  readonly processes: TupleProcesses;
  readonly workload: TupleWorkload;
  readonly opsMax: number;
  readonly hasErrors: boolean;
  /** The disk loses and misdirects writes, and rots. */
  readonly isSpoiling: boolean;
  readonly #counts = new Tally();
  /** Pages that nobody may have: memory is short. */
  readonly #drained: number[] = [];
  /** Where a misdirected write is landing, until it is there. */
  readonly #landing: (readonly [start: number, end: number])[] = [];
  #index = 0;

  constructor({ seed, settings }: TupleOptions) {
    const random = new SeededRandom(seed);
    const drawn = randomLimits(random);
    const segments = random.pick([0, 0, 1, 2, 5]);
    const wide = validateLimits({ ...drawn, max_integrity_segments: segments });
    const integrity = randomProfile(random, wide.logical_block_size);
    const limits = integrityLimits(wide, integrity);
    const isQuiet = settings['faults'] === 'off';
    this.isSpoiling = random.chance(0.6) && !isQuiet;
    const rates = isQuiet ? NO_FAULTS : randomRates(random, this.isSpoiling);
    this.hasErrors = rates.error > 0 || rates.refuse > 0;
    this.opsMax = random.pick([1, 4, 16, 40]);
    const unit = 2 ** integrity.interval_exp;
    // Some devices end inside a block of theirs, but never inside an interval.
    const sizeBytes = random.between(8, 96) * 4096 + (random.chance(0.2) ? unit : 0);
    this.engine = new SimEngine({
      seed: random.uint32(),
      clock: this.clock,
      limits,
      integrity,
      sizeBytes,
      depth: random.pick([1, 1, 2, 3, 8, 32]),
      plan: new FaultPlan(random.uint32(), rates),
      onSpoil: this.#spoiled,
      placeFor: (bytes) => this.workload.quietPlace(bytes),
      onTouch: this.#touched,
    });
    this.checked = new CheckedEngine(this.engine);
    this.device = new BlockDevice({
      engine: this.checked,
      arena: this.arena,
      limits,
      bios: random.pick([1, 1, 2, 8, 64]),
      splits: random.pick([0, 1, 4, 64]),
      payloads: random.pick([0, 0, 2, 16]),
      defer: this.clock.defer,
    });
    this.memory = new SimMemory(this.arena, random.fork());
    this.processes = new TupleProcesses(this.arena, this.clock);
    for (let i = random.below(3); i >= 0; i--) this.processes.spawn();
    const first = new Uint8Array(sizeBytes);
    fillPattern(first, seed);
    this.engine.medium.poke(0, first);
    this.workload = new TupleWorkload(this, random.fork(), this.#counts);
    if (random.chance(0.3) && settings['memory'] !== 'large') this.#drain(random.below(40));
  }

  /** Leaves `pages` in the arena. */
  #drain(pages: number): void {
    for (;;) {
      const page = this.arena.getFolio(PAGE_ORDER);
      if (page < 0) break;
      this.#drained.push(page);
    }
    for (let i = 0; i < pages; i++) {
      const page = this.#drained.pop();
      if (page !== undefined) this.arena.putFolio(page);
    }
  }

  readonly #spoiled = (start: number, bytes: number): void => {
    this.#counts.add('fault: lost or misdirected');
    if (!this.workload.spoiled(start, start + bytes)) this.#landing.push([start, start + bytes]);
  };

  readonly #touched = (_request: Request, isMoved: boolean): void => {
    if (!isMoved) return;
    for (const [start, end] of this.#landing.splice(0)) this.workload.model.resync(start, end);
  };

  step(index: number): void {
    this.#index = index;
    this.workload.step(index);
  }

  replay(line: string): void {
    const match = /^step (\d+)$/.exec(line);
    if (match !== null) this.step(Number(match[1]));
  }

  line(): string {
    return `step ${this.#index}`;
  }

  check(): void {
    const { requests, queue } = this.device;
    assert(requests.busyCount <= this.engine.info.depth, 'sim: more tags than the depth');
    assert(queue.inFlight === this.checked.inFlight, 'sim: queue and engine count differently');
    if (this.workload.active.size === 0) this.#checkIdle();
  }

  /** Nothing is in flight: nobody holds payloads, their memory, or pages of programs. */
  #checkIdle(): void {
    const { integrity, metadata, counters } = this.device;
    assert(integrity?.busyCount === 0, 'sim: payloads of the block layer are left');
    assert(metadata?.busyCount === 0, 'sim: metadata of a program is still held');
    assert(counters.pagesHeld === 0, 'sim: data of a program is still held');
    assert(this.arena.region.pinnedPages === 0, 'sim: pages are still pinned');
  }

  finish(): void {
    this.workload.finish();
    this.#checkIdle();
  }

  async close(): Promise<void> {
    this.device.assertNothingOutstanding();
    await this.device.close();
    for (const page of this.#drained.splice(0)) this.arena.putFolio(page);
    this.memory.dispose();
    this.processes.close();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }

  abandon(): void {
    this.arena.region.pinnedPages = 0;
    this.arena[Symbol.dispose]();
  }

  tally(into: Tally): void {
    into.merge(this.#counts.toRecord());
    const { judge, stacked } = this.workload;
    into.add('tuples: stored records compared', judge.tuplesCompared);
    into.add('tuples: mismatches that were found', judge.mismatches);
    into.add('tuples: clones sent again', stacked.resubmits);
    into.add('tuples: requests', this.checked.checked);
    into.add('fault: short, error or refusal', this.engine.plan.injected);
  }
}

function randomProfile(random: SeededRandom, blockBytes: number): IntegrityProfile {
  const { REF_TAG, NOVERIFY, NOGENERATE, SPLIT_INTERVAL_OK } = IntegrityFlag;
  const csum = random.chance(0.05) ? 'none' : random.pick(CSUMS.filter((name) => name !== 'none'));
  const tuple = csum === 'none' ? 0 : csum === 'crc64' ? 16 : 8;
  const prefix = random.pick([0, 0, 0, 8, 3]);
  const rest = csum === 'none' ? 8 : random.pick([0, 0, 0, 8, 56, 5]);
  let flags = csum !== 'none' && random.chance(0.75) ? REF_TAG : 0;
  if (random.chance(0.7)) flags |= SPLIT_INTERVAL_OK;
  if (random.chance(0.08)) flags |= NOVERIFY;
  if (random.chance(0.08)) flags |= NOGENERATE;
  const interval_exp = random.chance(0.5) ? 9 : Math.log2(blockBytes);
  const metadata_size = prefix + tuple + rest;
  return validateIntegrity(
    { csum, interval_exp, metadata_size, pi_offset: prefix, flags },
    blockBytes,
  );
}

function randomRates(random: SeededRandom, isSpoiling: boolean): FaultRates {
  const some = (most: number): number =>
    random.chance(0.5) ? random.below(100) * (most / 100) : 0;
  return {
    short: some(0.4),
    error: some(0.1),
    torn: some(1),
    refuse: some(0.05),
    fewer: some(0.5),
    slow: some(0.2),
    delayNs: [random.below(5_000), 5_000 + random.below(50_000)],
    ...(isSpoiling ? { misdirect: some(0.06), lost: some(0.06) } : {}),
  };
}
