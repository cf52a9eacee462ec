import { assert } from '../../../base/assert.ts';
import type { ModelObject } from './model-object.ts';
import type { ModelProcess } from './model-process.ts';
import { formatAction, type PathAction } from './path-action.ts';

export const OpKind = {
  READ: 0,
  WRITE: 1,
  FSYNC: 2,
  TRUNCATE: 3,
  PUNCH: 4,
  ALLOCATE: 5,
  LOAD: 6,
  STORE: 7,
} as const;
export type OpKind = (typeof OpKind)[keyof typeof OpKind];
export const OP_KIND_NAMES = [
  'read',
  'write',
  'fsync',
  'truncate',
  'punch',
  'allocate',
  'load',
  'store',
] as const;

/** Bytes [at, at + bytes) of `object` are bytes [from, from + bytes) of the operation. */
export interface Span {
  readonly object: ModelObject;
  readonly at: number;
  readonly bytes: number;
  readonly from: number;
}

/** What a byte of the source was at some moment of the operation. */
interface Alternative {
  readonly from: number;
  readonly bytes: Uint8Array;
}

interface Overwrite {
  readonly object: ModelObject;
  readonly at: number;
  readonly bytes: number;
}

/** Alternatives beyond which an operation counts as having met anything. */
const ALTERNATIVES_MAX = 24;

/**
 * An operation in flight, as the model sees it: `sources` flow into `targets`. While it is in
 * flight any moment of the sources is a legal outcome, so what they held before a change is kept.
 */
export class PathOp {
  readonly kind: OpKind;
  readonly process: ModelProcess;
  readonly action: PathAction;
  readonly bytes: number;
  /** Addresses of the program's side. */
  readonly addr: readonly number[];
  readonly lens: readonly number[];
  readonly isDirect: boolean;
  sources: Span[] = [];
  targets: Span[] = [];
  readonly alternatives: Alternative[] = [];
  /** Anything may have arrived: too many changes met it. */
  isWild = false;
  /** Another operation wrote to the same targets meanwhile: any order is legal. */
  isTargetRaced = false;
  /** A direct write, and somebody wrote by a mapping to a page of a file that it writes to. */
  metPage = false;
  /** Bytes of its targets that the program wrote to meanwhile: either may have come last. */
  readonly overwrites: Overwrite[] = [];
  /** All its pages were pinned when it began: what the program maps there later is not its own. */
  isPinned = false;
  /** The program changed the mapping, but what is pinned stays what it is. */
  isRemapped = false;
  /** The program changed the mapping under it. */
  isDisturbed = false;
  isKilled = false;
  isCancelled = false;
  ends = 0;
  /** Size of its file when it began, and whether something else changed that meanwhile. */
  sizeAtStart = 0;
  metResize = false;
  /** Direct writes of its file that had left a stale page in the cache, when it began. */
  staleBefore = 0;
  /** How often pages of processes had moved when it began. */
  pageMoves = 0;
  /** Version of the file when it began. */
  version = 0;
  readonly startNs: number;

  constructor(options: {
    readonly kind: OpKind;
    readonly process: ModelProcess;
    readonly action: PathAction;
    readonly bytes: number;
    readonly addr?: readonly number[];
    readonly lens?: readonly number[];
    readonly isDirect?: boolean;
    readonly startNs: number;
  }) {
    this.kind = options.kind;
    this.process = options.process;
    this.action = options.action.copy();
    this.bytes = options.bytes;
    this.addr = options.addr ?? [];
    this.lens = options.lens ?? [];
    this.isDirect = options.isDirect ?? false;
    this.startNs = options.startNs;
  }

  /** The step, for messages. */
  get text(): string {
    return formatAction(this.action);
  }

  /** Bytes of the source that are about to change: they may have been taken already. */
  remember(from: number, bytes: Uint8Array): void {
    assert(from >= 0 && from + bytes.length <= this.bytes, 'path op: remembers too much');
    if (this.alternatives.length >= ALTERNATIVES_MAX) this.isWild = true;
    else this.alternatives.push({ from, bytes });
  }

  /** The program wrote to a target: `isTargetRaced`, but for these bytes only. */
  overwritten(object: ModelObject, at: number, bytes: number): void {
    if (this.overwrites.length >= ALTERNATIVES_MAX) this.isTargetRaced = true;
    else this.overwrites.push({ object, at, bytes });
  }

  wasOverwritten(object: ModelObject, at: number): boolean {
    return this.overwrites.some((range) => {
      return range.object === object && at >= range.at && at < range.at + range.bytes;
    });
  }

  /** True when byte `i` of the operation had `value` at some moment that is over. */
  remembers(i: number, value: number): boolean {
    if (this.isWild) return true;
    return this.alternatives.some(({ from, bytes }) => {
      return i >= from && i < from + bytes.length && bytes[i - from] === value;
    });
  }
}

/** True when [at, at + bytes) of `object` overlaps any of the spans. */
export function touches(
  spans: readonly Span[],
  object: ModelObject,
  at: number,
  bytes: number,
): boolean {
  for (const span of spans) {
    if (span.object === object && span.at < at + bytes && at < span.at + span.bytes) return true;
  }
  return false;
}

export function spansMeet(a: readonly Span[], b: readonly Span[]): boolean {
  for (const span of a) if (touches(b, span.object, span.at, span.bytes)) return true;
  return false;
}
