import { AssertionError } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { differenceWithin } from '../sim-op.ts';
import type { Tally } from '../tally.ts';
import { Certainty, type ModelObject } from './model-object.ts';
import type { ModelProcess } from './model-process.ts';
import { OpKind, type PathOp, type Span, spansMeet, touches } from './path-op.ts';

/** How many operations may feed each other before any value counts as explained. */
const DEPTH_MAX = 3;

/**
 * All objects and all operations in flight. A byte is legal when the model has it, or when an
 * operation in flight may have brought it: that is looked at only where a comparison fails, so
 * that a world without races costs one comparison of words.
 */
export class Model {
  readonly inFlight: PathOp[] = [];
  readonly #tally: Tally;

  constructor(tally: Tally) {
    this.#tally = tally;
  }

  /** Pre: its spans are set. */
  begin(op: PathOp): void {
    // Within one object, or twice to the same place: what is read then is anybody's guess.
    if (meetsItself(op)) op.isWild = true;
    for (const other of this.inFlight) {
      if (op.kind === OpKind.TRUNCATE) other.metResize = true;
      if (other.kind === OpKind.TRUNCATE) op.metResize = true;
      // Pages that somebody else uses cannot be dropped: they may be stale behind a direct write.
      if (isPastCache(op) && spansMeet(op.targets, other.sources)) op.isTargetRaced = true;
      if (isPastCache(other) && spansMeet(other.targets, op.sources)) other.isTargetRaced = true;
      meetInPage(op, other);
      meetInPage(other, op);
      if (!spansMeet(op.targets, other.targets)) continue;
      op.isTargetRaced = true;
      other.isTargetRaced = true;
    }
    this.inFlight.push(op);
  }

  /** Pre: what it brought is in the model already. */
  end(op: PathOp): void {
    const at = this.inFlight.indexOf(op);
    if (at < 0) throw new AssertionError(`sim: ended without having begun: ${op.text}`);
    this.inFlight[at] = this.inFlight[this.inFlight.length - 1];
    this.inFlight.pop();
    if (!op.isTargetRaced && op.alternatives.length === 0) return;
    // What it brought may have been there for a moment only, and a reader may have taken it then.
    for (const other of this.inFlight) {
      if (spansMeet(other.sources, op.targets)) other.isWild = true;
    }
  }

  /**
   * Somebody writes: `bytes` of `from` are in the object now. Readers may have the old ones. `by`:
   * the operation in flight whose bytes these are; null: the program's, or nobody's that is known.
   */
  change(
    object: ModelObject,
    at: number,
    bytes: number,
    from: Uint8Array,
    fromAt: number,
    by: PathOp | null = null,
  ): void {
    for (const op of this.inFlight) {
      if (op === by) continue;
      if (touches(op.sources, object, at, bytes)) {
        keepOld(op, object, at, bytes);
        for (const writer of this.inFlight) {
          if (writer !== op && writer !== by) this.#keepBrought(op, writer, object, at, bytes);
        }
      }
      if (touches(op.targets, object, at, bytes)) op.overwritten(object, at, bytes);
      if (by === null && isPastCache(op) && meetsPage(op.targets, object, at, bytes)) {
        op.metPage = true;
        op.isTargetRaced = true;
      }
    }
    object.write(at, from, fromAt, bytes);
  }

  /** `object.trust`, but who reads there now may have taken what was in doubt until this moment. */
  trust(object: ModelObject, at: number, bytes: number, sinceNs: number): void {
    if (object.isExact(at, bytes)) return;
    for (const op of this.inFlight) {
      if (touches(op.sources, object, at, bytes)) op.isWild = true;
    }
    object.trust(at, bytes, sinceNs);
  }

  /**
   * What `writer` moves there may have arrived already: nothing orders a device in flight and the
   * program. Then it lay there until now, and `op` may have taken it, which the model never had.
   */
  #keepBrought(op: PathOp, writer: PathOp, object: ModelObject, at: number, bytes: number): void {
    for (const span of op.sources) {
      const first = Math.max(span.at, at);
      const end = Math.min(span.at + span.bytes, at + bytes);
      if (span.object !== object || first >= end) continue;
      for (const target of writer.targets) {
        const start = Math.max(target.at, first);
        const stop = Math.min(target.at + target.bytes, end);
        if (target.object !== object || start >= stop) continue;
        const from = target.from + start - target.at;
        this.#keepMoved(op, span.from + start - span.at, writer, from, stop - start);
      }
    }
  }

  /** Bytes [from, from + bytes) that `writer` moves may be bytes [to, ...) of `op`. */
  #keepMoved(op: PathOp, to: number, writer: PathOp, from: number, bytes: number): void {
    if (writer.isWild) op.isWild = true;
    for (const known of writer.alternatives) {
      const first = Math.max(known.from, from);
      const end = Math.min(known.from + known.bytes.length, from + bytes);
      if (first >= end) continue;
      op.remember(to + first - from, known.bytes.slice(first - known.from, end - known.from));
    }
    for (const source of writer.sources) {
      const first = Math.max(source.from, from);
      const end = Math.min(source.from + source.bytes, from + bytes);
      if (first >= end) continue;
      const start = source.at + first - source.from;
      const stop = start + end - first;
      const isFed = this.inFlight.some((other) => {
        return other !== writer && touches(other.targets, source.object, start, stop - start);
      });
      if (isFed || !source.object.isExact(start, stop - start)) op.isWild = true;
      op.remember(to + first - from, source.object.bytes.slice(start, stop));
    }
  }

  /**
   * Other objects lie under [addr, addr + bytes) now: operations in flight there may meet the old
   * ones or the new ones. `isDisturbed`: or none, for the program changed its mappings.
   */
  remapped(process: ModelProcess, addr: number, bytes: number, isDisturbed: boolean): void {
    for (const op of this.inFlight) {
      if (op.process !== process) continue;
      if (op.isPinned) {
        op.isRemapped = true;
        continue;
      }
      const spans = op.kind === OpKind.READ ? op.targets : op.sources;
      let from = 0;
      for (let i = 0; i < op.addr.length; i++) {
        const first = Math.max(op.addr[i], addr);
        const end = Math.min(op.addr[i] + op.lens[i], addr + bytes);
        if (first < end) {
          if (isDisturbed) op.isDisturbed = true;
          if (op.kind === OpKind.READ) this.partPinned(process, first, end - first);
          process.spans(first, end - first, from + first - op.addr[i], spans);
        }
        from += op.lens[i];
      }
    }
  }

  /** A device will write to [addr, addr + bytes): pages part from their file when it is pinned. */
  partPinned(process: ModelProcess, addr: number, bytes: number): void {
    for (const vpn of process.partPinned(addr, bytes)) {
      this.remapped(process, vpn * PAGE_BYTES, PAGE_BYTES, false);
    }
  }

  /** True when `value` is legal for byte `at` of the object now. */
  explains(object: ModelObject, at: number, value: number, depth = 0): boolean {
    if (object.bytes[at] === value || object.allows(at, value)) return true;
    if (depth === DEPTH_MAX) return true;
    for (const op of this.inFlight) {
      for (const span of op.targets) {
        if (span.object !== object || at < span.at || at >= span.at + span.bytes) continue;
        if (this.brings(op, span.from + at - span.at, value, depth + 1)) return true;
      }
    }
    return false;
  }

  /** True when byte `i` that `op` moves may be `value`. */
  brings(op: PathOp, i: number, value: number, depth = 0): boolean {
    if (op.remembers(i, value)) return true;
    for (const { object, at, bytes, from } of op.sources) {
      if (i < from || i >= from + bytes) continue;
      if (this.explains(object, at + i - from, value, depth)) return true;
    }
    return false;
  }

  /**
   * What is there must be what the model has, or what is explained; the model has it afterwards.
   * `what` names the place in a failure.
   */
  observe(
    object: ModelObject,
    at: number,
    bytes: number,
    actual: Uint8Array,
    actualAt: number,
    what: string,
  ): void {
    if (differenceWithin(object.bytes, at, actual, actualAt, bytes) < 0) return;
    for (let i = 0; i < bytes; i++) {
      const value = actual[actualAt + i];
      if (object.bytes[at + i] === value) continue;
      this.#countDoubt(object, at + i);
      if (this.explains(object, at + i, value)) continue;
      wrongByte(object, at + i, value, what);
    }
    // In flight: what is there now is one moment of several, so the model keeps what it had.
    const isSettled = !this.inFlight.some((op) => touches(op.targets, object, at, bytes));
    if (isSettled) this.change(object, at, bytes, actual, actualAt);
  }

  #countDoubt(object: ModelObject, at: number): void {
    const certainty = object.certaintyAt(at);
    if (certainty === Certainty.OPEN) this.#tally.add('model: bytes that are old or new');
    if (certainty === Certainty.LOOSE) this.#tally.add('model: bytes that a race left open');
    if (certainty === Certainty.SPOILED) this.#tally.add('fault found: bytes spoiled by the disk');
  }

  /**
   * `op` has moved byte `i` of the span, or may have (`isCertain` false): what is there is what it
   * brought, or else what was there before. The model has it afterwards.
   */
  settle(
    op: PathOp,
    span: Span,
    isCertain: boolean,
    mayBeZero: boolean,
    actual: Uint8Array,
    actualAt: number,
  ): void {
    const { object, at, bytes, from } = span;
    if (isAsBrought(op, span, actual, actualAt)) {
      if (differenceWithin(object.bytes, at, actual, actualAt, bytes) >= 0) {
        this.change(object, at, bytes, actual, actualAt, op);
      }
      return;
    }
    const mayBeOld = !isCertain || op.isTargetRaced || op.isDisturbed;
    if (mayBeOld && differenceWithin(object.bytes, at, actual, actualAt, bytes) < 0) return;
    for (let i = 0; i < bytes; i++) {
      const value = actual[actualAt + i];
      if (mayBeOld && object.bytes[at + i] === value) continue;
      if (this.brings(op, from + i, value)) continue;
      this.#countDoubt(object, at + i);
      const isOld = mayBeOld || op.wasOverwritten(object, at + i);
      if (isOld && this.explains(object, at + i, value)) continue;
      if (mayBeZero && !isCertain && value === 0) continue;
      if (object.certaintyAt(at + i) === Certainty.SPOILED) continue;
      wrongByte(object, at + i, value, `after ${op.text}`);
    }
    if (differenceWithin(object.bytes, at, actual, actualAt, bytes) >= 0) {
      this.change(object, at, bytes, actual, actualAt, op);
    }
  }
}

function isPastCache({ kind, isDirect, targets }: PathOp): boolean {
  return kind === OpKind.WRITE && isDirect && targets[0]?.object.isFile === true;
}

/**
 * `op` goes past the cache, and a device brings bytes into a page of the same file by a mapping:
 * the page has old bytes of what `op` writes, and may be written back over it. Or `op` comes last,
 * with zeros for the rest of a new block, and drops the page.
 */
function meetInPage(op: PathOp, other: PathOp): void {
  if (!isPastCache(op) || other.kind !== OpKind.READ) return;
  for (const { object, at, bytes } of op.targets) {
    if (!meetsPage(other.targets, object, at, bytes)) continue;
    op.metPage = true;
    op.isTargetRaced = true;
    other.isTargetRaced = true;
  }
}

/** True when one of the spans lies in a page that [at, at + bytes) of the object lies in. */
function meetsPage(
  spans: readonly Span[],
  object: ModelObject,
  at: number,
  bytes: number,
): boolean {
  const first = at - (at % PAGE_BYTES);
  return touches(spans, object, first, Math.ceil((at + bytes) / PAGE_BYTES) * PAGE_BYTES - first);
}

function meetsItself({ sources, targets }: PathOp): boolean {
  return targets.some(({ object, at, bytes }, i) => {
    if (sources.some((source) => source.object === object)) return true;
    return object.isFile && touches(targets.slice(i + 1), object, at, bytes);
  });
}

/** True when what is there is what the sources of `op` hold now: by far the most frequent case. */
function isAsBrought(op: PathOp, span: Span, actual: Uint8Array, actualAt: number): boolean {
  let seen = 0;
  for (const { object, at, bytes, from } of op.sources) {
    const start = Math.max(from, span.from);
    const end = Math.min(from + bytes, span.from + span.bytes);
    if (start >= end) continue;
    const where = actualAt + start - span.from;
    if (differenceWithin(object.bytes, at + start - from, actual, where, end - start) >= 0) {
      return false;
    }
    seen += end - start;
  }
  return seen === span.bytes;
}

function keepOld(op: PathOp, object: ModelObject, at: number, bytes: number): void {
  for (const span of op.sources) {
    const start = Math.max(span.at, at);
    const end = Math.min(span.at + span.bytes, at + bytes);
    if (span.object !== object || start >= end) continue;
    // What nobody knew for sure may have been taken already.
    if (!object.isExact(start, end - start)) op.isWild = true;
    op.remember(span.from + start - span.at, object.bytes.slice(start, end));
  }
}

export function wrongByte(object: ModelObject, at: number, value: number, what: string): never {
  const want = object.bytes[at].toString(16);
  const have = value.toString(16);
  throw new AssertionError(
    `sim: byte ${at} of ${object.name} is 0x${have}, the model has 0x${want} (${what})`,
  );
}
