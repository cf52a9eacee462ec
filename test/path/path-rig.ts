import { setImmediate as nextTurn } from 'node:timers/promises';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { Arena } from '../../src/memory/arena.ts';
import { ScriptedEngine, type ScriptedOptions } from './scripted-engine.ts';

export interface RigOptions extends Omit<Partial<ScriptedOptions>, 'limits'> {
  readonly limits?: LimitsInput;
  readonly bios?: number;
  readonly splits?: number;
  readonly payloads?: number;
  readonly arenaBytes?: number;
}

/** A disk on a scripted engine with an arena of its own; the end checks that nothing is left. */
export class PathRig implements AsyncDisposable {
  readonly arena: Arena;
  readonly engine: ScriptedEngine;
  readonly device: BlockDevice;
  readonly disk: Disk;

  constructor(options: RigOptions = {}) {
    const { arenaBytes = 8 * 2 ** 20, bios, splits, payloads, ...more } = options;
    const { sizeBytes = 64 * 1024, ...rest } = more;
    const limits = validateLimits({ dma_alignment: 0, ...options.limits });
    this.arena = new Arena({ maxBytes: arenaBytes, label: 'rig', places: false });
    this.engine = new ScriptedEngine({ ...rest, sizeBytes, limits });
    const { engine, arena } = this;
    this.device = new BlockDevice({ engine, arena, bios, splits, payloads });
    this.disk = new Disk(this.device);
    for (let i = 0; i < sizeBytes; i++) this.engine.disk[i] = (i % 251) + 1;
  }

  /** Bytes [start, end) of the medium. */
  medium(start: number, end: number): Uint8Array {
    return this.engine.disk.slice(start, end);
  }

  /** Lets everything run that can, with the engine as it is. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await nextTurn();
  }

  /** Completes all requests, also those that come of it, until nothing is left. */
  async finish(): Promise<void> {
    await this.settle();
    while (this.engine.holds > 0) {
      this.engine.finish();
      await this.settle();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disk.assertNothingOutstanding();
    await this.disk.close();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

/** What became of a promise, for as long as it may be pending. */
export class Outcome<T> {
  isSettled = false;
  value: T | undefined;
  error: unknown;

  constructor(promise: Promise<T>) {
    promise.then(
      (value) => {
        this.isSettled = true;
        this.value = value;
      },
      (error: unknown) => {
        this.isSettled = true;
        this.error = error;
      },
    );
  }
}

/** Small numbers from a seed, for engines: 0 … 1. */
export function randomOf(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
