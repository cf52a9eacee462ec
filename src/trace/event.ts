import type { BIO_OP_NAMES } from '../bio/bio-op.ts';
import type { SPLIT_CAUSE_NAMES } from '../bio/split-point.ts';
import type { MAP_REASON_NAMES, VERDICT_NAMES } from '../map/verdict.ts';
import type { HOLD_NAMES } from '../memory/holds.ts';

// What happened on the path, as plain objects: one step each, complete in itself, ready for JSON.
// `trace` is the transfer; splits, merges and bounces keep it. Bios and requests have names for as
// long as the log lives: bio '2', its fronts '2.1', '2.2', and the rest of it '2' again.

export type OpName = (typeof BIO_OP_NAMES)[number];

/** Physically contiguous bytes. `address` is frame * 4096 + offset. */
export interface SegmentRecord {
  readonly address: number;
  readonly bytes: number;
}

interface Traced {
  readonly trace: number;
  /** Nanoseconds by the clock of the log, if it has one. */
  readonly atNs?: number;
}

/** Map or copy was decided, or decided anew once the bio was built (`isRevised`). */
export interface MapEvent extends Traced {
  readonly type: 'map';
  readonly op: OpName;
  readonly position: number;
  readonly bytes: number;
  readonly verdict: (typeof VERDICT_NAMES)[number];
  readonly reason: (typeof MAP_REASON_NAMES)[number];
  /** The same for what lies between a partial first and last block. */
  readonly middle: (typeof MAP_REASON_NAMES)[number];
  readonly isRevised: boolean;
}

/** Pages got a hold, or were let go. */
export interface HoldEvent extends Traced {
  readonly type: 'hold' | 'release';
  readonly hold: (typeof HOLD_NAMES)[number];
  readonly pages: number;
  readonly segments: readonly SegmentRecord[];
}

/** The submitter's side copied, from the program (`in`) or back to it. */
export interface CopyEvent extends Traced {
  readonly type: 'copy';
  readonly direction: 'in' | 'back';
  readonly reason: (typeof MAP_REASON_NAMES)[number];
  readonly bytes: number;
}

/** A bio entered the queue, before any split. */
export interface BioEvent extends Traced {
  readonly type: 'bio';
  readonly bio: string;
  readonly op: OpName;
  readonly sector: number;
  readonly bytes: number;
  readonly segments: readonly SegmentRecord[];
}

/** A front was cut off `of`, of which `restBytes` stay. */
export interface SplitEvent extends Traced {
  readonly type: 'split';
  readonly bio: string;
  readonly of: string;
  readonly sector: number;
  readonly bytes: number;
  readonly restBytes: number;
  /** In sysfs names. */
  readonly limit: (typeof SPLIT_CAUSE_NAMES)[number];
}

export interface RequestEvent extends Traced {
  /** Taken for a bio; gone to the engine; the rest of a short transfer goes again. */
  readonly type: 'request' | 'issue' | 'requeue';
  readonly request: string;
  readonly op: OpName;
  readonly sector: number;
  readonly bytes: number;
  /** Names of the bios in it, in order. */
  readonly bios: readonly string[];
  /** As limits count them: an upper bound of what follows. */
  readonly segmentCount: number;
  readonly segments: readonly SegmentRecord[];
}

export interface MergeEvent extends Traced {
  readonly type: 'merge';
  readonly where: 'back' | 'front' | 'discard';
  readonly bio: string;
  readonly request: string;
  /** Of the request, with the bio. */
  readonly bytes: number;
  readonly segmentCount: number;
}

/** The engine gave a request back. */
export interface CompleteEvent extends Traced {
  readonly type: 'complete';
  readonly request: string;
  /** 0 or a negative errno. */
  readonly status: number;
  readonly bytes: number;
}

/** A bio and all its fronts are done. */
export interface EndEvent extends Traced {
  readonly type: 'end';
  readonly bio: string;
  readonly status: number;
  readonly bytes: number;
}

/** The memory of a request as a scatterlist: what goes into the mapping. */
export interface ScatterEvent extends Traced {
  readonly type: 'scatter';
  readonly request: string;
  readonly segments: readonly SegmentRecord[];
}

/** The same as the device sees it: a list of its own. */
export interface DmaEvent extends Traced {
  readonly type: 'dma';
  readonly request: string;
  /** Entries of the scatterlist under it. */
  readonly entries: number;
  /** Entries that go through bounce memory. */
  readonly bounces: number;
  /** Bus addresses. */
  readonly ranges: readonly SegmentRecord[];
}

/** One PRP entry (then `bytes` is what it stands for), or one SGL descriptor. */
export interface PointerRow {
  readonly kind: 'prp' | 'data' | 'segment' | 'last-segment';
  /** Where it stands: in the command, or in a list page of that bus address. */
  readonly list: number | null;
  readonly address: number;
  readonly bytes: number;
}

/** What the command says about its memory, as it stands in the command and in its list pages. */
export interface PointerEvent extends Traced {
  readonly type: 'pointer';
  readonly request: string;
  readonly kind: 'prp' | 'sgl';
  readonly listPages: number;
  /** Chains of lists among them, in the order in which a controller reads. */
  readonly rows: readonly PointerRow[];
}

/** The memory of a request cannot be made ready: `isNever`, or until a completion makes room. */
export interface RefuseEvent extends Traced {
  readonly type: 'refuse';
  readonly status: number;
  readonly isNever: boolean;
  readonly reason: string;
  readonly bytes: number;
}

/** The controller is done, and the driver takes the memory back. */
export interface UnmapEvent extends Traced {
  readonly type: 'unmap';
  readonly request: string;
  /** Status of the controller; 0 is success. */
  readonly status: number;
  readonly bytes: number;
  readonly bounces: number;
  /** Bounce buffers are copied back: the device wrote. */
  readonly isRead: boolean;
}

/** Metadata of the program beside a passthrough command: by the rule of its data. */
export interface MetaEvent extends Traced {
  readonly type: 'meta';
  readonly verdict: (typeof VERDICT_NAMES)[number];
  readonly reason: (typeof MAP_REASON_NAMES)[number];
  readonly bytes: number;
  /** Pinned ranges of the program, one pin each. */
  readonly entries: number;
  /** What the device gets: those, or own pages. */
  readonly segments: readonly SegmentRecord[];
}

/** A tuple, its tags in hexadecimal; the ref tag is that of the device. */
export interface TupleRecord {
  readonly block: number;
  readonly guard: string;
  readonly app: string;
  readonly ref: string;
}

/** Metadata is ready to go with a bio (`out`), or came back with it (`back`). */
export interface MetadataEvent extends Traced {
  readonly type: 'metadata';
  readonly direction: 'out' | 'back';
  /** Made and checked by the path itself, or brought by the program. */
  readonly owner: 'path' | 'program';
  /** Of the first interval. */
  readonly block: number;
  readonly bytes: number;
  /** The first of them. */
  readonly tuples: readonly TupleRecord[];
}

export type TraceEvent =
  | MapEvent
  | HoldEvent
  | CopyEvent
  | BioEvent
  | SplitEvent
  | RequestEvent
  | MergeEvent
  | CompleteEvent
  | EndEvent
  | ScatterEvent
  | DmaEvent
  | PointerEvent
  | RefuseEvent
  | UnmapEvent
  | MetaEvent
  | MetadataEvent;
