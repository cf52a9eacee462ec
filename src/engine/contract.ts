import type { IntegrityProfile } from '../integrity/integrity-profile.ts';
import type { Limits } from '../limits/limits.ts';
import type { RequestTable } from '../queue/request-table.ts';

/** What part of a device holds what. `hole` reads as zeros and takes no space. */
export type ExtentKind = 'data' | 'hole' | 'zero';

export interface Extent {
  /** Bytes from the start of the device. */
  readonly start: number;
  readonly end: number;
  readonly kind: ExtentKind;
}

/** What an engine is and can do; fixed when it is opened, but for the size. */
export interface EngineInfo {
  /** 'ram', 'null', 'file', 'simulator' … */
  readonly kind: string;
  /** As the user named it, for errors. */
  readonly target: string;
  /** Requests that it takes at once, at most. */
  readonly depth: number;
  readonly limits: Limits;
  /** Format of the metadata that it keeps beside the data; null: it keeps none. */
  readonly integrity: IntegrityProfile | null;
  /**
   * Any offset and length will do (a regular file through the page cache). `request.sector` may
   * then be a multiple of 1/512, which a double holds exactly: position = sector * 512.
   */
  readonly byteGranular: boolean;
  /** False for a regular file: a write at the end makes it longer. */
  readonly fixedSize: boolean;
  /** Plain facts for `biovec info`: direct, block device, how limits were found … */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

/**
 * Advisory, between all who ask: of one medium one engine has it, until `close` or the death of its
 * process. `null`: nobody can tell here.
 */
export interface WriterLock {
  /** False: another engine has it. */
  take(): boolean | null;
  /** Whether another engine has it now. Takes nothing. */
  isTaken(): boolean | null;
}

/**
 * Moves bytes between segments and a medium (design D7).
 *
 * - `submit` takes `tags[first … first + count)` in order and returns how many it accepted (fewer
 *   = full: try the rest after a completion) or -errno for the first one (the rest untried). It
 *   never runs completions and never calls up, but may already have moved the bytes.
 * - From acceptance to `reap` the engine owns the request's memory; it reads segments with a
 *   SegmentCursor and completes each accepted tag exactly once, also after `cancel` and `close`.
 * - `reap` writes at most `max` finished tags to `tags` and returns how many; their results are
 *   in `table.status` (0 or -errno) and `table.bytesDone` by slot. It reports what it got: a
 *   transfer may end short with status 0; the rest is continued by the caller.
 * - `arm(wake)`: call `wake` once, later (never from inside `submit`, `reap` or `arm`), when there
 *   is something to reap. Armed again after each wake; arming twice replaces the wake.
 * - A request covers whole logical blocks, but the last one may end inside a block where a file
 *   ends (or where a write shall end it). Of a device of fixed size, what lies behind its last
 *   whole block is read by requests that go over the end, and never written.
 * - `submit` accepts at least one request while nothing is in flight: 0 would wait for ever. A reap
 *   may return fewer than are finished, and then wakes again. After `close`, submit is refused.
 * - With `info.integrity`, READ and WRITE of a request whose bios have metadata move that as well:
 *   `metadata_size` bytes for each interval, which a MetadataCursor walks in the order of the data.
 *   Ref tags in them are those of the device (`deviceBlock`, one more an interval), both ways. A
 *   short READ has filled the records of every whole interval that it reports. Requests come
 *   without metadata only if the profile has NOVERIFY (reads) or NOGENERATE (writes): then the
 *   engine makes and checks tuples by itself. With DEVICE_CAPABLE it also checks what
 *   `payload.check` asks for, and fails with -EILSEQ: a write before anything of it is stored.
 * - Where a DISCARD took effect, and where nothing was written, every byte of a record is 0xFF: an
 *   escape, so that no check fails. WRITE_ZEROES leaves tuples that are right for zeros.
 * - READ moves device → segments, WRITE segments → device; a WRITE with FUA, and a FLUSH, complete
 *   when the bytes are on the medium. DISCARD and WRITE_ZEROES name a range only.
 */
export interface Engine {
  /** Present where other processes can open the same medium. */
  readonly writerLock?: WriterLock;
  readonly info: EngineInfo;
  /** Bytes now. A file may shrink under us; the engine then ends reads short. */
  sizeBytes(): number;
  /** Called once, before the first submit. */
  attach(table: RequestTable): void;
  submit(tags: Uint32Array, first: number, count: number): number;
  reap(tags: Uint32Array, max: number): number;
  /** Asks to give up on `tag`. 0: it completes, perhaps with -ECANCELED; -ENOENT: unknown. */
  cancel(tag: number): number;
  arm(wake: () => void): void;
  /** Control plane: data, holes and zeros from `start` to `end`, in order and without gaps. */
  extents?(start: number, end: number): AsyncIterable<Extent>;
  /** Changes the size where the medium allows it (regular files). */
  truncate?(bytes: number): Promise<void>;
  /** Pre: nothing in flight. */
  close(): Promise<void>;
}
