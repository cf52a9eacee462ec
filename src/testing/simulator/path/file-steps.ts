import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { Certainty, ModelObject, ZEROS } from './model-object.ts';
import type { PathAction, Verb } from './path-action.ts';
import { FILE_BYTES_MAX, type PathFile } from './path-file.ts';
import { OpKind, PathOp, touches } from './path-op.ts';
import type { PathProcess, PathWorld } from './path-world.ts';

const KINDS: Readonly<Partial<Record<Verb, OpKind>>> = {
  fsync: OpKind.FSYNC,
  msync: OpKind.FSYNC,
  truncate: OpKind.TRUNCATE,
  punch: OpKind.PUNCH,
  allocate: OpKind.ALLOCATE,
};

/** fsync, msync, truncate, holes, allocation. */
export class FileSteps {
  readonly #world: PathWorld;
  /** What a hole and the range behind the end read as. */
  readonly #zeros = new ModelObject('zeros', FILE_BYTES_MAX);

  constructor(world: PathWorld) {
    this.#world = world;
  }

  start(made: PathProcess, action: PathAction): void {
    const file = this.#world.pathFiles[action.file];
    const kind = KINDS[action.verb];
    if (file === undefined || file.file === null || kind === undefined) return;
    const at = Math.min(action.at, FILE_BYTES_MAX);
    const bytes = Math.min(Math.max(action.bytes, 1), Math.max(FILE_BYTES_MAX - at, 1));
    const { model, clock } = this.#world;
    const startNs = clock.nowNs;
    const isTruncate = kind === OpKind.TRUNCATE;
    const span = isTruncate ? FILE_BYTES_MAX - at : bytes;
    const op = new PathOp({ kind, process: made.model, action, bytes: span, startNs });
    if (isTruncate || kind === OpKind.PUNCH) {
      op.sources = [{ object: this.#zeros, at: 0, bytes: span, from: 0 }];
      op.targets = [{ object: file.object, at, bytes: span, from: 0 }];
    }
    op.version = file.object.version;
    const { inFlight } = model;
    if (inFlight.some((other) => touches(other.targets, file.object, 0, FILE_BYTES_MAX))) {
      op.isWild = true;
    }
    model.begin(op);
    const done = (result: number): void => this.#ended(op, file, at, result);
    const fd = 2 * action.file;
    const { calls } = made.process;
    if (action.verb === 'msync') made.process.msync(action.addr, action.bytes, done);
    else if (kind === OpKind.FSYNC) calls.fsync(fd, done);
    else if (isTruncate) calls.ftruncate(fd, at, done);
    else if (kind === OpKind.PUNCH) calls.punchHole(fd, at, bytes, done);
    else calls.allocate(fd, at, bytes, done);
  }

  #ended(op: PathOp, file: PathFile, at: number, result: number): void {
    const world = this.#world;
    op.ends++;
    if (op.ends > 1) throw new AssertionError(`sim: ended twice: ${op.text}`);
    world.counts.add(`end: ${op.action.verb}`);
    if (result !== 0) this.#checkError(op, result);
    const { object } = file;
    if (op.targets.length > 0) {
      const [{ bytes }] = op.targets;
      const isExact = result === 0 && !op.isTargetRaced;
      if (isExact) {
        world.model.change(object, at, bytes, this.#zeros.bytes, 0, op);
        object.trust(at, bytes, op.startNs);
        if (op.kind === OpKind.TRUNCATE && !op.metResize) this.#checkSize(op, file, at);
      } else {
        // As it was, or zeros.
        const end = Math.min(at + bytes, FILE_BYTES_MAX);
        object.mayBe(at, object.bytes.slice(at, end));
        object.mayBe(at, ZEROS.subarray(0, end - at));
      }
      this.#doubtCopies(op);
    }
    world.model.end(op);
    const isSync = op.kind === OpKind.FSYNC && op.action.verb === 'fsync';
    const isQuiet = !op.isWild && op.version === object.version;
    const isAlone = !world.model.inFlight.some((other) => {
      return touches(other.targets, object, 0, FILE_BYTES_MAX);
    });
    if (isSync && result === 0 && isQuiet && isAlone) {
      world.counts.add('checked: the disk after fsync');
      file.checkDisk(world.model, 'after fsync');
    }
  }

  #checkSize(op: PathOp, file: PathFile, size: number): void {
    const isAlone = !this.#world.model.inFlight.some((other) => {
      return other !== op && touches(other.targets, file.object, 0, FILE_BYTES_MAX);
    });
    if (isAlone && file.size !== size) file.fail(`truncated to ${size}, but has ${file.size}`);
  }

  /** Private copies of pages that the file lost may be gone with them. */
  #doubtCopies(op: PathOp): void {
    if (op.kind !== OpKind.TRUNCATE) return;
    for (const made of this.#world.processes) {
      if (made === null) continue;
      for (const [vpn, page] of made.model.pages) {
        const area = made.process.space.areaAt(vpn * PAGE_BYTES);
        if (area === null || area.ops === null || area.isShared || page.isFilePrivate) continue;
        page.object.doubt(page.at, PAGE_BYTES, Certainty.LOOSE);
      }
    }
  }

  #checkError(op: PathOp, result: number): void {
    const world = this.#world;
    world.counts.add(`end with ${result}`);
    if (op.isKilled && result === -Errno.EINTR) return;
    if (op.action.verb === 'msync' && (result === -Errno.ENOMEM || result === -Errno.EINVAL))
      return;
    if (result === -Errno.ENOSPC) return;
    if (result === -Errno.ENOMEM && world.isTight) return;
    if (world.hasErrors && result < 0) return;
    throw new AssertionError(`sim: ended with ${result}: ${op.text}`);
  }
}
