import { AssertionError, assert } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { Arena } from '../../../memory/arena.ts';
import { UserMemory } from '../../../memory/user/user-memory.ts';
import { Process } from '../../../process/process.ts';
import { type FaultRates, NO_FAULTS } from '../fault-plan.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SimClock } from '../sim-clock.ts';
import { Tally } from '../tally.ts';
import type { World, WorldSettings } from '../world.ts';
import { FreeFrames } from './free-frames.ts';
import { checkCheaply, checkFully, checkIdle } from './invariants.ts';
import type { LongTerm } from './long-term.ts';
import { Model } from './model.ts';
import { ModelProcess } from './model-process.ts';
import { PassthroughDisk } from './passthrough-disk.ts';
import { formatAction, PathAction, parseAction } from './path-action.ts';
import { type ChoiceWorld, chooseAction, WINDOW_START } from './path-choice.ts';
import { PathDisk } from './path-disk.ts';
import { PathFile } from './path-file.ts';
import { PathSteps } from './path-steps.ts';
import { Provenance } from './provenance.ts';
import { StableWrites } from './stable-writes.ts';

export interface PathOptions {
  readonly seed: number;
  readonly settings: WorldSettings;
}

/** A process and what the model says it must see. */
export interface PathProcess {
  readonly slot: number;
  readonly process: Process;
  readonly model: ModelProcess;
}

/** Steps between two looks at every page frame. */
const FULL_CHECK_STEPS = 512;
/** Events of the clock until something in flight must have ended. */
const PROGRESS_EVENTS = 200_000;

/**
 * The whole path: processes whose memory goes to files and disks, under pressure, with faults. A
 * model of every byte judges it. One seed decides everything; each step has a seed of its own.
 */
export class PathWorld implements World, ChoiceWorld {
  readonly clock = new SimClock();
  readonly arena: Arena;
  readonly memory: UserMemory;
  readonly disks: PathDisk[] = [];
  readonly pathFiles: PathFile[] = [];
  readonly processes: (PathProcess | null)[] = [];
  readonly counts = new Tally();
  readonly model = new Model(this.counts);
  readonly stable: StableWrites;
  /** Takes commands of programs past the queue. */
  readonly passthrough: PassthroughDisk;
  longTerm: LongTerm | null = null;
  /** What knowing less would have decided; null: nobody asks. */
  readonly provenance: Provenance | null;
  readonly processSlots: number;
  readonly extentFiles: number;
  readonly opsMax: number;
  readonly hasErrors: boolean;
  readonly isTight: boolean;
  /** Numbers of everything below the choice of a step: reseeded by each step's salt. */
  readonly random: SeededRandom;
  readonly #choice: SeededRandom;
  readonly #seed: number;
  readonly #action = new PathAction();
  readonly #steps: PathSteps;
  readonly #freeFrames: FreeFrames;
  #spawned = 0;
  #stepCount = 0;

  constructor(options: PathOptions) {
    const { seed, settings } = options;
    this.#seed = seed;
    this.#choice = new SeededRandom(seed);
    const random = new SeededRandom(seed);
    this.random = random;
    const count = (name: string, from: readonly number[]): number =>
      Number(settings[name] ?? random.pick(from));
    this.processSlots = count('processes', [1, 2, 2, 3, 4]);
    this.extentFiles = count('files', [1, 2, 3]);
    const disks = count('disks', [1, 1, 2]);
    this.opsMax = count('ops', [1, 4, 8, 16]);
    const isQuiet = random.chance(0.25);
    const memory = random.chance(0.6) ? 'tight' : 'large';
    this.isTight = (settings['memory'] ?? memory) === 'tight';
    const plainLimits = random.chance(0.3) || settings['limits'] === 'plain';
    const largePools = random.chance(0.3) || settings['pools'] === 'large';
    const rates = isQuiet || settings['faults'] === 'off' ? NO_FAULTS : randomRates(random);
    this.hasErrors = rates !== NO_FAULTS;
    const least = random.pick([48, 96, 160]); // Some can do hardly anything.
    const pages = this.isTight ? random.between(least, least + 60) : 4096;
    const swapPages = random.pick([0, 16, 64]);
    const zone = random.chance(0.4);
    this.arena = new Arena({ label: 'path', maxBytes: pages * PAGE_BYTES, places: false });
    const movableFrom = Math.floor(pages / 2);
    const options2 = { arena: this.arena, swapPages, label: 'path' };
    this.memory = new UserMemory(zone ? { ...options2, movableFrom } : options2);
    this.stable = new StableWrites(this);
    this.provenance = settings['provenance'] === 'on' ? new Provenance(this) : null;
    for (let index = 0; index < disks; index++) {
      const fileBlocks = random.between(24, 120);
      const disk = new PathDisk({
        index,
        clock: this.clock,
        arena: this.arena,
        random,
        rates,
        plainLimits,
        largePools,
        fileBlocks,
        rawBlocks: random.between(8, 40),
        onSpoil: this.#spoiled,
        onTouch: this.stable.touched,
      });
      this.disks.push(disk);
    }
    this.#makeFiles(random);
    const { arena, clock, hasErrors } = this;
    this.passthrough = new PassthroughDisk({ arena, clock, random, hasErrors });
    this.#steps = new PathSteps(this);
    this.#freeFrames = new FreeFrames(this.arena.region);
    for (let slot = 0; slot < this.processSlots; slot++) this.processes.push(null);
  }

  #makeFiles(random: SeededRandom): void {
    for (let i = 0; i < this.extentFiles; i++) {
      const disk = random.pick(this.disks);
      this.pathFiles.push(PathFile.ofExtents(`file${i}`, disk, this.memory, this.clock.defer));
    }
    for (const disk of this.disks) this.pathFiles.push(PathFile.ofDisk(`raw${disk.index}`, disk));
  }

  readonly #spoiled = (disk: PathDisk, start: number, bytes: number): void => {
    this.counts.add('fault: spoiled by the disk');
    for (const file of this.pathFiles)
      if (file.disk === disk) file.spoiled(start, bytes, this.clock.nowNs);
  };

  // What a choice asks.

  get files(): number {
    return this.pathFiles.length;
  }

  fileBytes(file: number): number {
    return Math.max(this.pathFiles[file].object.bytes.length, PAGE_BYTES);
  }

  blockBytes(file: number): number {
    return this.pathFiles[file].disk.device.limits.logical_block_size;
  }

  isAlive(slot: number): boolean {
    return this.processes[slot] !== null;
  }

  isMapped(slot: number, vpn: number): boolean {
    return this.processes[slot]?.model.pages.has(vpn) ?? false;
  }

  get hasRoom(): boolean {
    return this.model.inFlight.length < this.opsMax;
  }

  freeSlot(choice: number): number {
    for (let i = 0; i < this.processSlots; i++) {
      const slot = (i + choice) % this.processSlots;
      if (!this.isAlive(slot)) return slot;
    }
    return -1;
  }

  busySlot(choice: number): number {
    const { inFlight } = this.model;
    for (let i = 0; i < inFlight.length; i++) {
      const { process, addr } = inFlight[(i + choice) % inFlight.length];
      if (addr.length === 0 || !process.isAlive) continue;
      return this.processes.findIndex((made) => made?.model === process);
    }
    return -1;
  }

  busyAddr(slot: number, choice: number): number {
    const model = this.processes[slot]?.model ?? null;
    const { inFlight } = this.model;
    for (let i = 0; i < inFlight.length; i++) {
      const op = inFlight[(i + choice) % inFlight.length];
      if (op.process === model && op.addr.length > 0) return op.addr[choice % op.addr.length];
    }
    return -1;
  }

  // The world.

  step(index: number): void {
    this.#choice.reseed(this.#seed, index);
    chooseAction(this.#choice, this, this.#action);
    this.#run();
  }

  replay(line: string): void {
    parseAction(line, this.#action);
    this.#run();
  }

  #run(): void {
    this.#stepCount++;
    this.random.reseed(this.#action.salt, 1);
    this.#steps.run(this.#action);
  }

  line(): string {
    return formatAction(this.#action);
  }

  check(): void {
    checkCheaply(this);
    this.#freeFrames.checkFresh();
    if (this.#stepCount % FULL_CHECK_STEPS !== 0) return;
    checkFully(this);
    this.#freeFrames.check();
  }

  spawn(slot: number, process?: Process): PathProcess {
    assert(this.processes[slot] === null, 'sim: the slot is taken');
    const label = `p${slot}.${this.#spawned++}`;
    const fresh = process ?? new Process({ memory: this.memory, label, defer: this.clock.defer });
    const made = { slot, process: fresh, model: new ModelProcess(label) };
    this.processes[slot] = made;
    if (process !== undefined) return made; // A child has the files of its parent.
    for (const { file, disk } of this.pathFiles) {
      fresh.open(file ?? disk.device, { direct: file === null });
      fresh.open(file ?? disk.device, { direct: true });
    }
    return made;
  }

  finish(): void {
    this.#settle();
    checkFully(this);
    this.#steps.releaseAll();
    this.#syncAll();
    checkIdle(this);
    for (const file of this.pathFiles) file.checkDisk(this.model, 'at the end');
    this.passthrough.check(this.model);
    for (const made of this.processes) if (made !== null) this.#steps.checkMemory(made);
  }

  /** Everything in flight ends. */
  #settle(): void {
    let events = 0;
    while (this.model.inFlight.length > 0) {
      const isStuck = !this.clock.step() || ++events > PROGRESS_EVENTS;
      if (isStuck) this.#stuck();
    }
    while (this.clock.step());
  }

  #stuck(): never {
    const ops = this.model.inFlight.map((op) => op.text).join('; ');
    throw new AssertionError(`sim: stuck, nothing completes: ${ops}`);
  }

  /** Writes everything back, with a disk that does its work again. */
  #syncAll(): void {
    for (const disk of this.disks) disk.engine.plan.heal();
    for (let round = 0; round < 20; round++) {
      let isClean = true;
      for (const { file } of this.pathFiles) {
        if (file === null) continue;
        let result: number | null = null;
        file.startSync((_op, status) => {
          result = status;
        });
        while (result === null && this.clock.step());
        assert(result !== null, 'sim: a sync at the end never ends');
        if (result !== 0 && result !== -Errno.ENOSPC) isClean = false;
        if (file.cache.countDirty() > 0) isClean = false;
      }
      if (isClean) return;
    }
  }

  async close(): Promise<void> {
    for (const made of this.processes) made?.process.kill();
    while (this.clock.step());
    for (const { file } of this.pathFiles) file?.[Symbol.dispose]();
    this.passthrough.close();
    for (const { device } of this.disks) {
      device.assertNothingOutstanding();
      await device.close();
    }
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }

  abandon(): void {
    this.passthrough.abandon();
    this.arena.region.pinnedPages = 0;
    this.arena[Symbol.dispose]();
  }

  tally(into: Tally): void {
    into.merge(this.counts.toRecord());
    for (const { engine, checked } of this.disks) {
      into.add('requests', checked.checked);
      into.add('fault: short, error or refusal', engine.plan.injected);
    }
    for (const [name, value] of Object.entries(this.memory.counters)) {
      into.add(`memory: ${name}`, value);
    }
  }
}

export const WINDOW_VPN = WINDOW_START / PAGE_BYTES;

function randomRates(random: SeededRandom): FaultRates {
  const some = (most: number): number =>
    random.chance(0.5) ? random.below(100) * (most / 100) : 0;
  const spoils = random.chance(0.2);
  return {
    short: some(0.3),
    error: some(0.08),
    torn: some(1),
    refuse: some(0.05),
    fewer: some(0.5),
    slow: some(0.2),
    delayNs: [random.below(5_000), 5_000 + random.below(50_000)],
    ...(spoils ? { misdirect: some(0.05), rot: 0.01 + some(0.05) } : {}),
  };
}
