import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../../base/units.ts';
import { byteAt, FrameFlag, frameOf, regionOf } from '../../../memory/region.unsafe.ts';
import { Pte } from '../../../memory/user/page-table.ts';
import { Certainty, type ModelObject, ZEROS } from './model-object.ts';
import type { ModelProcess } from './model-process.ts';
import { ActionFlag, type PathAction } from './path-action.ts';
import type { PathFile } from './path-file.ts';
import { OpKind, PathOp, type Span, spansMeet, touches } from './path-op.ts';
import type { PathProcess, PathWorld } from './path-world.ts';

/** Errors that a faulty disk may give by itself. */
const DISK_ERRORS: readonly number[] = [
  -Errno.EIO,
  -Errno.ENOSPC,
  -Errno.ETIMEDOUT,
  -Errno.EREMOTEIO,
  -Errno.EAGAIN,
];

/** Reads and writes of processes, buffered and direct, of files and raw ranges. */
export class TransferSteps {
  readonly #world: PathWorld;
  #u8: Uint8Array = ZEROS;
  #at = 0;

  constructor(world: PathWorld) {
    this.#world = world;
  }

  start(made: PathProcess, action: PathAction): void {
    const { pathFiles, model, clock } = this.#world;
    const file = pathFiles[action.file];
    if (file === undefined) return;
    const isDirect = action.verb === 'direct-read' || action.verb === 'direct-write';
    const isRead = action.verb === 'read' || action.verb === 'direct-read';
    const at = action.at % file.object.bytes.length;
    const most = file.object.bytes.length - at;
    const bytes = Math.min(action.bytes, most);
    if (file.file === null && this.#meetsMixed(file, at, bytes)) return;
    const { addr, lens } = rangesOf(action, bytes);
    const op = new PathOp({
      kind: isRead ? OpKind.READ : OpKind.WRITE,
      process: made.model,
      action,
      bytes,
      addr,
      lens,
      isDirect,
      startNs: clock.nowNs,
    });
    op.sizeAtStart = file.size;
    op.staleBefore = file.stalePages;
    op.pageMoves = this.pageMoves();
    const memory = this.#memorySpans(made.model, op, isRead);
    const place: Span = { object: file.object, at, bytes, from: 0 };
    op.sources = isRead ? [place] : memory;
    op.targets = isRead ? memory : [place];
    model.begin(op);
    const fd = 2 * action.file + (isDirect ? 1 : 0);
    const { calls } = made.process;
    const position = file.base + at;
    const done = (result: number): void => this.#ended(made, op, file, at, result);
    const isVector = addr.length > 1;
    const { region } = this.#world.arena;
    const pinned = region.pinnedPages;
    if (isRead) calls.readv(fd, addr, lens, position, done);
    else calls.writev(fd, addr, lens, position, done);
    let pages = 0;
    addr.forEach((start, i) => {
      pages += pagesSpanned(start % PAGE_BYTES, lens[i]);
    });
    // Parts of blocks and of pages are pinned once for each piece: their count says nothing.
    const unit = Math.max(file.disk.device.limits.logical_block_size, isVector ? PAGE_BYTES : 1);
    const isWhole = (position | bytes) % unit === 0 && (!isVector || addr[0] % PAGE_BYTES === 0);
    op.isPinned = isWhole && op.ends === 0 && region.pinnedPages - pinned === pages;
  }

  /** Only a transfer waits for the blocks of another; a bio filled by hand does not. */
  #meetsMixed(file: PathFile, at: number, bytes: number): boolean {
    const start = at - (at % PAGE_BYTES);
    const size = Math.ceil((at + bytes - start) / PAGE_BYTES) * PAGE_BYTES;
    return this.#world.model.inFlight.some(({ action, targets }) => {
      return action.verb === 'mixed-write' && touches(targets, file.object, start, size);
    });
  }

  #memorySpans(model: ModelProcess, op: PathOp, isRead: boolean): Span[] {
    const spans: Span[] = [];
    let from = 0;
    op.addr.forEach((addr, i) => {
      if (isRead) this.#world.model.partPinned(model, addr, op.lens[i]);
      model.spans(addr, op.lens[i], from, spans);
      from += op.lens[i];
    });
    return spans;
  }

  #ended(made: PathProcess, op: PathOp, file: PathFile, at: number, result: number): void {
    const { counts, model, stable } = this.#world;
    op.ends++;
    if (op.ends > 1) throw new AssertionError(`sim: ended twice: ${op.text}`);
    const isRead = op.kind === OpKind.READ;
    // A page that could not be dropped has the old bytes, until somebody drops it.
    if (!isRead && op.isDirect && file.stalePages !== op.staleBefore) op.isTargetRaced = true;
    counts.add(`end: ${op.isDirect ? 'direct' : 'buffered'} ${isRead ? 'read' : 'write'}`);
    if (result < 0) counts.add(`end with ${result}`);
    else if (result < op.bytes) counts.add('end with a short count');
    if (isRead) stable.deviceReads++;
    // A hole of a file is filled by the CPU: only a raw range is moved by the device for sure.
    const isByDevice = isRead && file.file === null && result === op.bytes;
    if (isByDevice) this.checkDirty(made, op);
    this.#checkResult(made, op, file, at, result);
    const moved = Math.max(result, 0);
    const mayBeZero = file.file !== null;
    const isStale = !isRead && op.isDirect && (op.isTargetRaced || this.#meetsOthers(op));
    for (const span of op.targets) {
      this.#settle(op, span, moved, mayBeZero, isStale);
      if (op.metPage) doubtEdges(span);
    }
    model.end(op);
  }

  /** The same for bios that were filled by hand. */
  readonly settled = (op: PathOp, moved: number): void => {
    for (const span of op.targets) this.#settle(op, span, moved, false, false);
    this.#world.model.end(op);
  };

  /** Bytes of the object that mean something. */
  #endOf(object: ModelObject): number {
    if (!object.isFile) return Number.POSITIVE_INFINITY;
    const file = this.#world.pathFiles.find((known) => known.object === object);
    return file?.size ?? object.bytes.length;
  }

  /** Behind the end of its file a page has bytes that nobody promises anything about. */
  #doubtTail(object: ModelObject, at: number, bytes: number): void {
    if (!object.isFile) return;
    const file = this.#world.pathFiles.find((known) => known.object === object);
    const start = Math.max(file?.size ?? object.bytes.length, at);
    if (start < at + bytes) object.doubt(start, at + bytes - start, Certainty.LOOSE);
  }

  /** Every way in which a page of a process gets another frame, which nobody has written to. */
  pageMoves(): number {
    const { swappedIn, migrated, cowCopies, forkCopies, unshares } = this.#world.memory.counters;
    return swappedIn + migrated + cowCopies + forkCopies + unshares;
  }

  /** A device wrote: its pages are dirty since then, whatever cleaned them while it did. */
  checkDirty({ process, model }: PathProcess, op: PathOp): void {
    if (op.isDisturbed || op.isRemapped || op.isKilled || op.pageMoves !== this.pageMoves()) return;
    const { table } = process.space;
    op.addr.forEach((addr, i) => {
      for (let at = addr; at < addr + op.lens[i]; at += PAGE_BYTES - (at % PAGE_BYTES)) {
        const vpn = Math.floor(at / PAGE_BYTES);
        if ((table.bitsAt(vpn) & Pte.PRESENT) === 0) continue;
        const page = table.frameAt(vpn);
        const region = regionOf(page);
        const flags = region.flags[region.head[frameOf(page)]];
        if ((flags & FrameFlag.ANON) === 0 || (flags & FrameFlag.DIRTY) !== 0) continue;
        const where = `${model.name} at 0x${at.toString(16)}`;
        throw new AssertionError(`sim: a lost dirty bit: ${where}, ${op.text}`);
      }
    });
  }

  /** A page of the cache that others use cannot be dropped, or came back: it may be stale now. */
  #meetsOthers(op: PathOp): boolean {
    return this.#world.model.inFlight.some((other) => {
      if (other === op) return false;
      return spansMeet(op.targets, other.targets) || spansMeet(op.targets, other.sources);
    });
  }

  /** What `op` left may be what was there, what it brought, or both in one place and another. */
  #leaveOpen(op: PathOp, { object, at, bytes, from }: Span, before: Uint8Array): void {
    const end = from + bytes;
    const sources = op.sources.filter((one) => one.from < end && from < one.from + one.bytes);
    const isVague = (one: Span): boolean => {
      const start = Math.max(one.from, from);
      const stop = Math.min(one.from + one.bytes, end);
      return !one.object.isExact(one.at + start - one.from, stop - start);
    };
    if (op.isWild || sources.some(isVague)) {
      object.doubt(at, bytes, Certainty.LOOSE);
      return;
    }
    object.mayBe(at, before);
    for (const { object: source, at: start, bytes: length, from: first } of sources) {
      this.#mayBring(object, at, from, end, first, source.bytes.slice(start, start + length));
    }
    for (const known of op.alternatives) {
      this.#mayBring(object, at, from, end, known.from, known.bytes);
    }
  }

  /** Bytes [from, end) of an operation go to `at`; from `first` on it may have had `bytes`. */
  #mayBring(
    object: ModelObject,
    at: number,
    from: number,
    end: number,
    first: number,
    bytes: Uint8Array,
  ): void {
    const start = Math.max(first, from);
    const stop = Math.min(first + bytes.length, end);
    if (start < stop) object.mayBe(at + start - from, bytes.subarray(start - first, stop - first));
  }

  /** The part of a span that was moved for sure, and the part that may have been. */
  #settle(op: PathOp, span: Span, moved: number, mayBeZero: boolean, isStale: boolean): void {
    for (let done = 0; done < span.bytes; ) {
      const at = span.at + done;
      const from = span.from + done;
      let step = Math.min(PAGE_BYTES - (at % PAGE_BYTES), span.bytes - done);
      if (from < moved && from + step > moved) step = moved - from;
      const isCertain = from + step <= moved;
      // A mapping goes on behind the end of its file, where writeback makes zeros of anything.
      const end = op.kind === OpKind.READ ? this.#endOf(span.object) : Number.POSITIVE_INFINITY;
      if (at < end && at + step > end) step = end - at;
      const part: Span = { object: span.object, at, bytes: step, from };
      done += step;
      if (at >= end || !this.#actual(span.object, at)) {
        span.object.doubt(at, step, Certainty.LOOSE);
        continue;
      }
      const isOpen = !isCertain && !op.isDisturbed && op.isTargetRaced;
      const before = isOpen || isStale ? span.object.bytes.slice(at, at + step) : null;
      this.#world.model.settle(op, part, isCertain, mayBeZero, this.#u8, this.#at);
      const isExact = isCertain && !op.isTargetRaced && !op.isDisturbed && !op.isWild;
      if (isExact) this.#world.model.trust(span.object, at, step, op.startNs);
      this.#doubtTail(span.object, at, step);
      if (before !== null) this.#leaveOpen(op, part, before);
    }
  }

  /** Finds what is really there for byte `at` of the object. False: nobody can tell now. */
  #actual(object: ModelObject, at: number): boolean {
    const file = this.#world.pathFiles.find((known) => known.object === object);
    if (file !== undefined) {
      file.actual(at);
      this.#u8 = file.u8;
      this.#at = file.at;
      return true;
    }
    const { passthrough } = this.#world;
    if (object.isFile && passthrough.find(object, at)) {
      this.#u8 = passthrough.u8;
      this.#at = passthrough.at;
      return true;
    }
    for (const { process, vpn } of object.homes) {
      const made = this.#world.processes.find((known) => known?.model === process) ?? null;
      if (made === null) continue;
      const page = vpn + Math.floor(at / PAGE_BYTES);
      if (process.pages.get(page)?.object !== object) continue;
      const { table } = made.process.space;
      const bits = table.bitsAt(page);
      if ((bits & Pte.PRESENT) === 0) continue;
      const frame = table.frameAt(page);
      this.#u8 = regionOf(frame).u8;
      this.#at = byteAt(frame, at % PAGE_BYTES);
      return true;
    }
    return false;
  }

  #checkResult(made: PathProcess, op: PathOp, file: PathFile, at: number, result: number): void {
    if (!Number.isInteger(result) || result > op.bytes) {
      throw new AssertionError(`sim: ended with ${result}: ${op.text}`);
    }
    if (result === op.bytes) return;
    if (op.isPinned && result === -Errno.EFAULT) {
      throw new AssertionError(`sim: pinned memory went away: ${op.text}`);
    }
    const world = this.#world;
    if (op.isKilled || op.isDisturbed || world.hasErrors || world.isTight) {
      if (result >= 0 || this.#mayFail(op, result)) return;
    }
    const end = Math.min(file.size, op.sizeAtStart);
    const isAtEnd = op.metResize || at + result >= end;
    if (result >= 0 && op.kind === OpKind.READ && isAtEnd) return;
    if (!this.isAllMapped(made.model, op)) {
      if (result >= 0 || result === -Errno.EFAULT) return;
    }
    if (result === -Errno.ENOSPC && file.file !== null) return;
    if (result >= 0 && op.kind === OpKind.WRITE && file.file !== null) return;
    if (result === -Errno.ECANCELED) return;
    throw new AssertionError(`sim: ended with ${result} of ${op.bytes}: ${op.text}`);
  }

  #mayFail(op: PathOp, result: number): boolean {
    const world = this.#world;
    if (op.isKilled && result === -Errno.EINTR) return true;
    if (result === -Errno.ECANCELED) return true;
    if (world.hasErrors && DISK_ERRORS.includes(result)) return true;
    // A page of a mapped file that could not be read is a fault of the program.
    if (result === -Errno.EFAULT) return op.isDisturbed || world.hasErrors;
    return result === -Errno.ENOMEM && world.isTight;
  }

  /** The program may use every byte of the ranges as the transfer wants to, and no file ends. */
  isAllMapped(model: ModelProcess, op: PathOp): boolean {
    const isRead = op.kind === OpKind.READ;
    return op.addr.every((addr, i) => {
      for (let at = addr; at < addr + op.lens[i]; at += PAGE_BYTES - (at % PAGE_BYTES)) {
        const page = model.pageAt(at);
        if (page === null || !(isRead ? page.canWrite : page.canRead)) return false;
        if (page.isOfFile) return false; // It may be shorter, or fail to be read.
      }
      return true;
    });
  }
}

/** What lies beside the span in its first and its last page. */
function doubtEdges({ object, at, bytes }: Span): void {
  const first = at - (at % PAGE_BYTES);
  const end = at + bytes;
  const stop = Math.ceil(end / PAGE_BYTES) * PAGE_BYTES;
  object.doubt(first, at - first, Certainty.LOOSE);
  object.doubt(end, stop - end, Certainty.LOOSE);
}

/** One range, or up to three with gaps between them. */
export function rangesOf(action: PathAction, bytes: number): { addr: number[]; lens: number[] } {
  if (!action.has(ActionFlag.VECTOR) || bytes < 3) return { addr: [action.addr], lens: [bytes] };
  const addr: number[] = [];
  const lens: number[] = [];
  const unit = bytes % (3 * 512) === 0 ? bytes / 3 : Math.ceil(bytes / 3 / PAGE_BYTES) * PAGE_BYTES;
  for (let done = 0; done < bytes; done += unit) {
    addr.push(action.addr + done + addr.length * PAGE_BYTES);
    lens.push(Math.min(unit, bytes - done));
  }
  return { addr, lens };
}
