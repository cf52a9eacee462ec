import { AssertionError, assert } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { fillPattern } from '../sim-op.ts';
import { Certainty } from './model-object.ts';
import type { ModelPage, ModelProcess } from './model-process.ts';
import type { PathAction } from './path-action.ts';
import { OpKind, PathOp, touches } from './path-op.ts';
import type { PathProcess, PathWorld } from './path-world.ts';

/** The program itself reads and writes its memory; a fault that must wait is waited for. */
export class CpuSteps {
  readonly #world: PathWorld;
  readonly #buffer = new Uint8Array(4 * PAGE_BYTES);

  constructor(world: PathWorld) {
    this.#world = world;
  }

  start(made: PathProcess, action: PathAction): void {
    const bytes = Math.min(action.bytes, this.#buffer.length);
    this.#go(made, action, action.addr, bytes, action.salt, null);
  }

  /** From `addr` on, until it must wait; then again. */
  #go(
    made: PathProcess,
    action: PathAction,
    addr: number,
    bytes: number,
    salt: number,
    waiting: PathOp | null,
  ): void {
    const { process, model } = made;
    const isStore = action.verb === 'store';
    if (waiting !== null) {
      this.#world.model.end(waiting);
      if (!model.isAlive) return;
    }
    const { space } = process;
    const data = this.#buffer.subarray(0, bytes);
    if (isStore) fillPattern(data, salt);
    const count = isStore ? space.write(addr, data) : space.read(addr, data);
    assert(count >= 0 && count <= bytes, 'sim: the CPU moved more than it was asked');
    for (let done = 0; done < count; ) {
      const step = Math.min(PAGE_BYTES - ((addr + done) % PAGE_BYTES), count - done);
      const page = this.#pageUnder(model, addr + done, isStore);
      if (isStore) this.#stored(model, addr + done, page, data, done, step);
      else this.#loaded(addr + done, page, data, done, step);
      done += step;
    }
    if (count === bytes) return;
    const error = space.copyError;
    if (error !== -Errno.EAGAIN) {
      this.#checkError(made, isStore, addr + count, error);
      return;
    }
    const kind = isStore ? OpKind.STORE : OpKind.LOAD;
    const startNs = this.#world.clock.nowNs;
    const op = new PathOp({ kind, process: model, action, bytes: 0, startNs });
    this.#world.model.begin(op);
    this.#world.counts.add('waits: a fault of the program');
    space.whenReady(() => {
      this.#go(made, op.action, addr + count, bytes - count, salt + 1, op);
    });
  }

  #pageUnder(model: ModelProcess, addr: number, isStore: boolean): ModelPage {
    const page = model.pageAt(addr);
    const isAllowed = page !== null && (isStore ? page.canWrite : page.canRead);
    if (isAllowed) return page;
    const what = isStore ? 'stored' : 'loaded';
    throw new AssertionError(`sim: ${model.name} ${what} at 0x${addr.toString(16)}: not allowed`);
  }

  #stored(
    model: ModelProcess,
    addr: number,
    page: ModelPage,
    data: Uint8Array,
    from: number,
    bytes: number,
  ): void {
    const inPage = addr % PAGE_BYTES;
    let own = page;
    if (page.isFilePrivate) {
      const isInFlux = this.#isInFlux(page);
      own = model.part(Math.floor(addr / PAGE_BYTES), page);
      this.#world.model.remapped(model, addr - inPage, PAGE_BYTES, false);
      if (isInFlux) own.object.doubt(0, PAGE_BYTES, Certainty.LOOSE);
    }
    const { object } = own;
    this.#world.model.change(object, own.at + inPage, bytes, data, from);
    const isRaced = this.#isInFlux(own);
    if (!isRaced) object.trust(own.at + inPage, bytes, Number.POSITIVE_INFINITY);
    this.#doubtTail(own, inPage, bytes);
  }

  /** Operations in flight change the object under the page: its bytes are not settled. */
  #isInFlux({ object, at }: ModelPage): boolean {
    const { inFlight } = this.#world.model;
    return inFlight.some((op) => touches(op.targets, object, at, PAGE_BYTES));
  }

  /** Behind the end of its file a page has bytes that nobody promises anything about. */
  #doubtTail(page: ModelPage, inPage: number, bytes: number): void {
    const file = this.#world.pathFiles.find(({ object }) => object === page.object);
    if (file === undefined) return;
    const start = Math.max(file.size, page.at + inPage);
    const end = page.at + inPage + bytes;
    if (start < end) page.object.doubt(start, end - start, Certainty.LOOSE);
  }

  #loaded(addr: number, page: ModelPage, data: Uint8Array, from: number, bytes: number): void {
    const what = `loaded at 0x${addr.toString(16)}`;
    const at = page.at + (addr % PAGE_BYTES);
    this.#world.model.observe(page.object, at, bytes, data, from, what);
  }

  /** Why the CPU may fault: no right, beyond the end of a file, no memory, a disk that fails. */
  #checkError(made: PathProcess, isStore: boolean, addr: number, error: number): void {
    const { counts } = this.#world;
    counts.add(`fault of the program: ${error}`);
    const page = made.model.pageAt(addr);
    if (page === null || !(isStore ? page.canWrite : page.canRead)) {
      if (error === -Errno.EFAULT) return;
    } else if (error === -Errno.ENOMEM && this.#world.isTight) return;
    else if (page.isOfFile) return;
    const what = isStore ? 'store' : 'load';
    throw new AssertionError(
      `sim: ${what} of ${made.model.name} at 0x${addr.toString(16)} failed with ${error}`,
    );
  }

  /** At the end of a world: every page that can be read has the bytes of the model. */
  checkAll(made: PathProcess): void {
    const { process, model } = made;
    const data = this.#buffer.subarray(0, PAGE_BYTES);
    for (const [vpn, page] of model.pages) {
      if (!page.canRead) continue;
      const addr = vpn * PAGE_BYTES;
      let count = process.space.read(addr, data);
      for (let tries = 0; count < PAGE_BYTES && tries < 1000; tries++) {
        if (process.space.copyError !== -Errno.EAGAIN || !this.#world.clock.step()) break;
        count = process.space.read(addr, data);
      }
      if (count > 0) this.#loaded(addr, page, data, 0, count);
    }
  }
}
