import { MIB, PAGE_BYTES } from '../base/units.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { EngineInfo } from '../engine/contract.ts';
import { integrityLimits } from '../integrity/integrity-limits.ts';
import { fromEffective } from '../limits/validate.ts';
import type { Arena } from '../memory/arena.ts';
import type { Layout } from './layout.ts';
import { findStore, layoutOf } from './open-store.ts';
import { type CloseWish, ProtectEngine } from './protect-engine.ts';
import { protectLimits, requestPagesMax } from './protect-limits.ts';
import { Recovery, type RecoveryReport } from './recovery.ts';
import { isUnclosed, type Superblock } from './superblock.ts';
import { TupleStore } from './tuple-store.ts';

export interface OpenProtectOptions {
  /** Whose blocks are protected; closed by the engine. */
  readonly data: BlockDevice;
  /** Where the tuples are; closed by the engine. */
  readonly store: BlockDevice;
  /** Cache, log buffers and tuples in flight come from here. */
  readonly arena: Arena;
  readonly defer: (run: () => void) => void;
  /** The store was made for this very opening, and has this: it is not looked for. */
  readonly made?: Superblock | undefined;
  /** As the user named it. */
  readonly target: string;
  /** Of the engine's info, beside its own. */
  readonly facts?: EngineInfo['facts'] | undefined;
  readonly readOnly?: boolean | undefined;
  /** Requests at once. Default 64. */
  readonly depth?: number | undefined;
  /** Tuple pages in memory, 4 KiB each. Default: 32 MiB, or as many as there are. */
  readonly cachePages?: number | undefined;
  /** This run of the host; null: nobody knows. */
  readonly boot?: Uint8Array | null | undefined;
  /**
   * Each write waits until its record in the log is on the medium: then nothing but what was in
   * flight is taken as it is after a power cut. Costs a flush for each batch of writes.
   */
  readonly ordered?: boolean | undefined;
  /** False: closing does not wait for the medium. Default true. */
  readonly flushesAtClose?: boolean | undefined;
  /** After the engine has closed both devices: for what the opener made for it. */
  readonly onClosed?: (() => void) | undefined;
}

export const PROTECT_DEPTH_DEFAULT = 64;
const CACHE_BYTES = 32 * MIB;

/**
 * Opens a protected device; after a crash, or a power cut, that is where tuples and data are made
 * to agree. Rejects with BlockError, and then both devices are the caller's to close.
 */
export async function openProtect(options: OpenProtectOptions): Promise<ProtectEngine> {
  const { data, store, arena } = options;
  const boot = options.boot ?? null;
  const { made } = options;
  const { superblock, layout, undoneSequence } =
    made === undefined
      ? await findStore(data, store, { arena, boot })
      : { superblock: made, layout: layoutOf(made), undoneSequence: 0 };
  const isReadOnly = (options.readOnly ?? false) || data.limits.read_only || store.limits.read_only;
  const depth = options.depth ?? PROTECT_DEPTH_DEFAULT;
  const cachePages = cachePagesFor(layout, depth, options.cachePages);
  const isOrdered = options.ordered ?? false;
  const parts = { data, store, layout, superblock, arena, cachePages, isOrdered, undoneSequence };
  const tuples = new TupleStore(parts);
  let report: RecoveryReport | null = null;
  try {
    if (made === undefined) await tuples.load();
    if (made === undefined && isUnclosed(superblock))
      report = await new Recovery(tuples, isReadOnly).run();
    const info = infoOf(options, layout, {
      depth,
      isReadOnly,
      report,
      wasUndone: undoneSequence > 0,
    });
    const close: CloseWish = { isDurable: options.flushesAtClose ?? true, boot };
    const { defer, onClosed } = options;
    return new ProtectEngine({ tuples, info, close, report, defer, onClosed });
  } catch (error) {
    tuples.release();
    throw error;
  }
}

/** Room for the pages of all requests, and as much again for those that wait for a commit. */
function cachePagesFor(layout: Layout, depth: number, wish: number | undefined): number {
  const least = Math.max(2 * depth * requestPagesMax(layout), 2 * layout.stretchPages);
  const most = Math.max(wish ?? CACHE_BYTES / PAGE_BYTES, least);
  return Math.min(most, layout.pages);
}

interface Opened {
  readonly depth: number;
  readonly isReadOnly: boolean;
  readonly report: RecoveryReport | null;
  readonly wasUndone: boolean;
}

function infoOf(options: OpenProtectOptions, layout: Layout, opened: Opened): EngineInfo {
  const { data, store } = options;
  const { profile } = layout;
  const limits = integrityLimits(protectLimits(data.limits, layout), profile);
  const { report } = opened;
  const recovery =
    report === null
      ? 'not needed'
      : `${report.blocksChecked} blocks looked at, ${report.settled} settled, ` +
        `${report.tornCount} torn, ${report.unloggedCount} without a record`;
  return {
    kind: 'protect',
    target: options.target,
    depth: opened.depth,
    limits: opened.isReadOnly ? fromEffective({ ...limits, read_only: true }) : limits,
    integrity: profile,
    byteGranular: false,
    fixedSize: true,
    facts: {
      ...passedOn(data),
      type: 'protected device',
      data: data.engine.info.target,
      tuples: store.engine.info.target,
      guard: profile.csum,
      interval: layout.intervalBytes,
      tuple: layout.tupleBytes,
      log: layout.logBytes,
      ordered: options.ordered ?? false,
      ...options.facts,
      recovery: opened.wasUndone ? `${recovery}; the last close was not flushed` : recovery,
    },
  };
}

/** What the device below knows of itself and is true of this one too. */
function passedOn(data: BlockDevice): Record<string, string | number | boolean> {
  const passed: Record<string, string | number | boolean> = {};
  for (const name of ['limits', 'extents']) {
    const fact = data.engine.info.facts[name];
    if (fact !== undefined) passed[name] = fact;
  }
  return passed;
}
