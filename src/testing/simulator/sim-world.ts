import { assert } from '../../base/assert.ts';
import { BlockDevice } from '../../device/block-device.ts';
import { integrityLimits } from '../../integrity/integrity-limits.ts';
import { DEFAULT_PROFILE, LINUX_6_1 } from '../../limits/profile.ts';
import { validateLimits } from '../../limits/validate.ts';
import { Arena } from '../../memory/arena.ts';
import { CheckedEngine } from './checked-engine.ts';
import { FaultPlan, type FaultRates, NO_FAULTS } from './fault-plan.ts';
import { randomLimits } from './random-limits.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimClock } from './sim-clock.ts';
import { type EngineMutant, SimEngine } from './sim-engine.ts';
import { SimMemory } from './sim-memory.ts';
import { fillPattern } from './sim-op.ts';
import { simProfile } from './sim-records.ts';
import { SimWorkload, type WorkloadMutant } from './sim-workload.ts';
import type { Tally } from './tally.ts';
import type { World } from './world.ts';

/** Bugs on purpose; `over-limit` gives the queue looser limits than the judge has. */
export type SimMutant = EngineMutant | WorkloadMutant | 'over-limit';

export interface SimOptions {
  readonly seed: number;
  readonly mutant?: SimMutant | undefined;
  /** The disk keeps tuples: every read is checked. Default false. */
  readonly hasTuples?: boolean | undefined;
}

const ARENA_BYTES = 16 * 2 ** 20;
/** Mutants wait until the world runs. */
const MUTANT_FROM = 10;
const ENGINE_MUTANTS: readonly EngineMutant[] = [
  'wrong-byte',
  'lost-write',
  'stray-write',
  'late-move',
  'double-completion',
  'lost-completion',
  'too-many-bytes',
];
export const SIM_MUTANTS: readonly SimMutant[] = [
  ...ENGINE_MUTANTS,
  'leaked-pin',
  'leaked-bio',
  'over-limit',
];

/** A device alone. One seed decides limits, faults, memory, pools, and every operation. */
export class SimWorld implements World {
  readonly clock = new SimClock();
  readonly arena = new Arena({ label: 'simulator', maxBytes: ARENA_BYTES });
  readonly engine: SimEngine;
  readonly checked: CheckedEngine;
  readonly device: BlockDevice;
  readonly memory: SimMemory;
  readonly workload: SimWorkload;
  /** Operations in flight at most. */
  readonly opsMax: number;
  /** The rest of the data operations are bios of their own. */
  readonly transferShare: number;
  readonly hasErrors: boolean;
  readonly #mutant: SimMutant | undefined;
  #index = 0;

  constructor(options: SimOptions) {
    const random = new SeededRandom(options.seed);
    this.#mutant = options.mutant;
    const isOverLimit = options.mutant === 'over-limit';
    const chosen = randomLimits(random);
    // A chunk of a few sectors would hide every other limit: the bug would be none.
    const drawn = isOverLimit ? validateLimits({ ...chosen, chunk_sectors: 0 }) : chosen;
    const integrity = options.hasTuples === true ? simProfile(drawn.logical_block_size) : undefined;
    const limits = integrity === undefined ? drawn : integrityLimits(drawn, integrity);
    const rates = options.mutant === undefined ? randomRates(random) : NO_FAULTS;
    this.hasErrors = rates.error > 0 || rates.refuse > 0;
    this.opsMax = random.pick([1, 4, 16, 40]);
    const share = options.mutant === undefined ? random.pick([0, 0.2, 0.5, 1]) : 0;
    const profile = random.pick([DEFAULT_PROFILE, DEFAULT_PROFILE, LINUX_6_1]);
    // Linux 6.1 gathers vec by vec and refuses what is no whole block of each, with EFAULT.
    this.transferShare = profile.trimEachGather ? 0 : share;
    // Some devices end inside a block of theirs.
    const sizeBytes = random.between(32, 512) * 4096 + random.pick([0, 0, 512]);
    this.engine = new SimEngine({
      seed: random.uint32(),
      clock: this.clock,
      limits,
      integrity,
      sizeBytes,
      depth: random.pick([1, 1, 2, 3, 8, 32]),
      plan: new FaultPlan(random.uint32(), rates),
      mutant: isEngineMutant(options.mutant) ? options.mutant : undefined,
      mutantFrom: MUTANT_FROM,
    });
    this.checked = new CheckedEngine(this.engine);
    const loose = validateLimits({ ...limits, max_hw_sectors: 65536, max_segments: 4096 });
    this.device = new BlockDevice({
      engine: this.checked,
      arena: this.arena,
      limits: isOverLimit ? loose : limits,
      profile,
      bios: random.pick([1, 1, 2, 8, 64]),
      splits: random.pick([0, 1, 4, 64]),
      payloads: options.seed % 3 === 0 ? 0 : 16,
      defer: this.clock.defer,
    });
    this.memory = new SimMemory(this.arena, random.fork());
    const first = new Uint8Array(sizeBytes);
    fillPattern(first, options.seed);
    this.engine.medium.poke(0, first);
    this.workload = new SimWorkload(this, random.fork());
  }

  /** Which leak the submitter shall make for its `count`-th operation, if any. */
  isLeak(count: number): WorkloadMutant | null {
    const mutant = this.#mutant;
    if (count < MUTANT_FROM) return null;
    return mutant === 'leaked-pin' || mutant === 'leaked-bio' ? mutant : null;
  }

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

  finish(): void {
    this.workload.finish();
  }

  tally(into: Tally): void {
    into.add('device operation', this.workload.started);
    into.add('device request', this.checked.checked);
    const { integrity } = this.device;
    if (integrity !== null) into.add('bytes of tuples checked', integrity.counters.bytesVerified);
    into.add('fault: short, error or refusal', this.engine.plan.injected);
  }

  /** Checks that hold between any two steps. */
  check(): void {
    const { requests, queue } = this.device;
    const { depth } = this.engine.info;
    assert(requests.busyCount <= depth, 'sim: more tags than the depth');
    assert(queue.inFlight === this.checked.inFlight, 'sim: queue and engine count differently');
    assert(queue.inFlight <= requests.busyCount, 'sim: in flight without a tag');
  }

  /** After the last operation. Throws when anything is still held. */
  async close(): Promise<void> {
    this.device.assertNothingOutstanding();
    assert(this.arena.region.pinnedPages === 0, 'sim: pages are still pinned');
    await this.device.close();
    this.memory.dispose();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }

  /** After a failure: the address space goes back whatever is still held. */
  abandon(): void {
    this.arena.region.pinnedPages = 0;
    this.arena[Symbol.dispose]();
  }
}

function isEngineMutant(mutant: SimMutant | undefined): mutant is EngineMutant {
  return ENGINE_MUTANTS.some((known) => known === mutant);
}

function randomRates(random: SeededRandom): FaultRates {
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
  };
}
