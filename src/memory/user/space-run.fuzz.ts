// A random life of a few processes, step by step beside its model. Every step ends with a count of
// all counts and a look at every byte that the step could have touched.

import assert from 'node:assert/strict';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Arena } from '../arena.ts';
import { Protection } from './area.ts';
import { initialByte, ObjectFile } from './object-file.fuzz.ts';
import { Pte } from './page-table.ts';
import { mergePages, movePage } from './share.ts';
import { type Process, SpaceHolds } from './space-holds.fuzz.ts';
import { ModelObject, ModelSpace, zeroCell } from './space-model.fuzz.ts';
import {
  BASE,
  FILE_PAGES,
  PAGES,
  type RunOptions,
  SPACES_MAX,
  type Step,
} from './space-step.fuzz.ts';
import { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';
import { verifyBytes, verifyMemory } from './verify-memory.fuzz.ts';

const { NONE, READ, WRITE } = Protection;
const ALL = READ | WRITE;

export class SpaceRun {
  readonly arena: Arena;
  readonly memory: UserMemory;
  readonly file: ObjectFile;
  readonly modelFile = new ModelObject(FILE_PAGES, initialByte);
  readonly processes: Process[] = [];
  readonly holds: SpaceHolds;
  readonly scratchArena = new Arena({ maxBytes: PAGE_BYTES, places: false });
  readonly scratch = this.scratchArena.alloc(PAGE_BYTES);

  constructor(options: RunOptions) {
    this.arena = new Arena({ maxBytes: options.frames * PAGE_BYTES, places: false });
    const { swapPages, movableFrom } = options;
    this.memory = new UserMemory({
      arena: this.arena,
      swapPages,
      ...(movableFrom === null ? {} : { movableFrom }),
    });
    this.holds = new SpaceHolds(this.memory);
    this.file = new ObjectFile(this.memory, FILE_PAGES);
    const process = this.#spawn();
    const vpn = BASE / PAGE_BYTES;
    const map = { who: 0, at: 0, pages: 0, offset: 0, value: 0 };
    this.#map(process, { ...map, kind: 'mapPrivate' }, vpn, 8);
    this.#map(process, { ...map, kind: 'mapFileShared' }, vpn + 8, 3);
    this.#map(process, { ...map, kind: 'mapFile' }, vpn + 11, 3);
    this.#map(process, { ...map, kind: 'mapHuge', value: 1 }, vpn + 14, PAGES - 14);
  }

  step(step: Step): void {
    const process = this.processes[step.who % this.processes.length] as Process;
    this.#do(process, step);
    this.verify();
  }

  verify(): void {
    verifyMemory(this.memory, this.holds.known());
    this.holds.verify();
    for (const { space, model } of this.processes) verifyBytes(space, model, this.scratch);
  }

  /** Everybody lets go; nothing may be left. */
  end(): void {
    this.holds.end();
    for (const { space } of this.processes.splice(0)) space.exit();
    this.file.close();
    verifyMemory(this.memory, { references: [], pins: [] });
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
    this.scratch.release();
    this.scratchArena[Symbol.dispose]();
  }

  #spawn(): Process {
    const process = { space: this.memory.newSpace('process'), model: new ModelSpace() };
    this.processes.push(process);
    return process;
  }

  #do(process: Process, step: Step): void {
    const { space, model } = process;
    const vpn = BASE / PAGE_BYTES + step.at;
    const addr = vpn * PAGE_BYTES;
    const count = Math.min(step.pages, PAGES - step.at);
    switch (step.kind) {
      case 'mapPrivate':
      case 'mapShared':
      case 'mapFile':
      case 'mapFileShared':
      case 'mapHuge':
        this.#map(process, step, vpn, step.kind === 'mapHuge' ? PAGES - step.at : count);
        return;
      case 'munmap':
        assert.equal(space.munmap(addr, count * PAGE_BYTES), 0);
        model.unmap(vpn, count);
        return;
      case 'mprotect': {
        const protection = [NONE, READ, ALL][step.value % 3] as number;
        const result = space.mprotect(addr, count * PAGE_BYTES, protection);
        const expected = model.protect(vpn, count, protection) ? 0 : -Errno.ENOMEM;
        assert.equal(result, expected);
        return;
      }
      case 'mremap':
        this.#remap(process, vpn, count, 1 + (step.value % 8));
        return;
      case 'fork':
        this.#fork(process, Number.POSITIVE_INFINITY);
        return;
      case 'forkShort':
        this.#fork(process, step.value % 4);
        return;
      case 'exit':
        if (this.processes.length === 1) return;
        space.exit();
        this.processes.splice(this.processes.indexOf(process), 1);
        return;
      case 'write':
      case 'clear':
        this.#write(process, addr + step.offset, step);
        return;
      case 'read':
        this.#read(process, addr + step.offset, step.pages * 700);
        return;
      default:
        this.#doMore(process, step, vpn, count);
        return;
    }
  }

  #doMore(process: Process, step: Step, vpn: number, count: number): void {
    const { space } = process;
    const addr = vpn * PAGE_BYTES;
    switch (step.kind) {
      case 'reclaim':
        assert.ok(this.memory.reclaim(step.pages * 4) >= 0);
        return;
      case 'migrate':
        this.#migrate(space, vpn);
        return;
      case 'hint':
        assert.ok(space.hint(addr, count * PAGE_BYTES) <= count);
        return;
      case 'merge':
        this.#merge(process, vpn, step);
        return;
      case 'movePage':
        this.#movePage(process, vpn, vpn + step.pages);
        return;
      case 'pinWrite':
      case 'pinRead':
        this.holds.pin(process, vpn, count, step.kind === 'pinWrite');
        this.file.fire();
        return;
      case 'device':
        this.holds.device(step);
        return;
      case 'unpin':
        this.holds.unpin(step.value);
        return;
      case 'get':
        this.holds.get(space, addr);
        this.file.fire();
        return;
      case 'put':
        this.holds.put(step.value);
        return;
      case 'sync':
        this.file.sync();
        return;
      case 'truncate':
        this.#truncate(step.value % (FILE_PAGES + 2));
        return;
      case 'retry':
        this.file.retries = step.value % 3;
        this.file.mkwriteRetries = step.pages % 3;
        return;
      case 'poison':
        this.#poison(process, vpn);
        return;
      default:
        assert.fail(`no step ${step.kind}`);
    }
  }

  #map(process: Process, step: Step, vpn: number, count: number): void {
    const { space, model } = process;
    const addr = vpn * PAGE_BYTES;
    const bytes = count * PAGE_BYTES;
    const protection = [ALL, ALL, ALL, READ, NONE][step.value % 5] as number;
    const isFile = step.kind === 'mapFile' || step.kind === 'mapFileShared';
    const isShared = step.kind === 'mapShared' || step.kind === 'mapFileShared';
    const index = step.value % 4;
    const result = space.mmap({
      addr,
      bytes,
      protection,
      shared: isShared,
      ...(isFile ? { ops: this.file, index } : {}),
      ...(step.kind === 'mapHuge' ? { folioOrder: 1 + (step.value % 3) } : {}),
    });
    assert.equal(result, addr);
    const anonymous = isShared ? new ModelObject(Number.POSITIVE_INFINITY, () => 0) : null;
    const object = isFile ? this.modelFile : anonymous;
    model.map(vpn, count, { protection, isShared, object, index: isFile ? index : 0 });
  }

  #remap({ space, model }: Process, vpn: number, before: number, after: number): void {
    const addr = vpn * PAGE_BYTES;
    const result = space.mremap(addr, before * PAGE_BYTES, after * PAGE_BYTES, true);
    if (result < 0) {
      assert.equal(result, -Errno.EFAULT);
      return;
    }
    model.move(vpn, before, result / PAGE_BYTES, after);
    if (result === addr) return;
    // Moved: brought back into the window by hand, over what may be there.
    const target = space.areaAt(result);
    assert.ok(target !== null);
    assert.equal(space.munmap(result, after * PAGE_BYTES), 0);
    model.unmap(result / PAGE_BYTES, after);
  }

  #fork({ space, model }: Process, allocations: number): void {
    if (this.processes.length >= SPACES_MAX) return;
    this.memory.allocationsLeft = allocations;
    const child = space.tryFork('child');
    this.memory.allocationsLeft = Number.POSITIVE_INFINITY;
    if (child !== null) this.processes.push({ space: child, model: model.fork() });
  }

  #write({ space, model }: Process, addr: number, step: Step): void {
    const bytes = new Uint8Array(step.pages * 800).fill(step.kind === 'clear' ? 0 : step.value);
    let done = 0;
    do {
      const rest = bytes.subarray(done);
      const now =
        step.kind === 'clear'
          ? space.clearUser(addr + done, rest.length)
          : space.write(addr + done, rest);
      model.write(addr + done, rest.subarray(0, now));
      done += now;
    } while (done < bytes.length && this.#mustRetry(space));
    this.#checkStop(space, model, addr, done, bytes.length, WRITE);
  }

  #read({ space, model }: Process, addr: number, bytes: number): void {
    const into = new Uint8Array(bytes);
    let done = 0;
    do {
      done += space.read(addr + done, into.subarray(done));
    } while (done < bytes && this.#mustRetry(space));
    this.#checkStop(space, model, addr, done, bytes, READ);
    const expected = model.read(addr, done);
    assert.equal(Buffer.compare(into.subarray(0, done), expected), 0, 'read other bytes');
  }

  /** After -EAGAIN: waits, as a program would. */
  #mustRetry(space: UserSpace): boolean {
    if (space.copyError !== -Errno.EAGAIN) return false;
    let woken = false;
    space.whenReady(() => {
      woken = true;
    });
    assert.ok(!woken, 'woken from inside');
    this.file.fire();
    assert.ok(woken);
    return true;
  }

  #checkStop(
    space: UserSpace,
    model: ModelSpace,
    addr: number,
    done: number,
    bytes: number,
    need: number,
  ): void {
    const reach = model.reach(addr, bytes, need);
    assert.ok(done <= reach, 'went where it may not');
    if (done === bytes) return;
    if (space.copyError === -Errno.ENOMEM) return;
    assert.equal(space.copyError, -Errno.EFAULT);
    assert.equal(done, reach, 'stopped too early');
  }

  #migrate(space: UserSpace, vpn: number): void {
    const bits = space.table.bitsAt(vpn);
    if ((bits & Pte.PRESENT) === 0 || (bits & Pte.SPECIAL) !== 0) return;
    const page = space.table.frameAt(vpn);
    const result = this.memory.migrate(page, true);
    assert.ok(result === 0 || result === -Errno.EAGAIN || result === -Errno.ENOMEM);
    if (result === 0) assert.notEqual(space.table.frameAt(vpn), page);
  }

  #merge({ space, model }: Process, vpn: number, step: Step): void {
    const other = this.processes[step.value % this.processes.length] as Process;
    const otherVpn = BASE / PAGE_BYTES + (step.offset % 8);
    for (const it of [
      { process: { space, model }, vpn },
      { process: other, vpn: otherVpn },
    ]) {
      const same = { ...step, kind: 'write', pages: 6, value: step.pages } as const;
      this.#write(it.process, it.vpn * PAGE_BYTES, same);
    }
    const result = mergePages(space, vpn * PAGE_BYTES, other.space, otherVpn * PAGE_BYTES);
    if (result !== 0) return;
    const a = model.seen(vpn).bytes;
    assert.equal(Buffer.compare(a, other.model.seen(otherVpn).bytes), 0, 'merged different pages');
  }

  #movePage({ space, model }: Process, from: number, to: number): void {
    if (movePage(space, from * PAGE_BYTES, to * PAGE_BYTES) !== 0) return;
    const source = model.pages.get(from);
    const target = model.pages.get(to);
    assert.ok(source !== undefined && target !== undefined);
    assert.equal(target.cell, null, 'moved over memory that was written');
    target.cell = source.cell ?? zeroCell();
    source.cell = null;
  }

  #truncate(sizePages: number): void {
    this.file.truncate(sizePages);
    this.modelFile.truncate(sizePages);
    for (const { model } of this.processes) model.truncated(this.modelFile);
  }

  /** A broken page is refused while it is broken. */
  #poison({ space }: Process, vpn: number): void {
    const bits = space.table.bitsAt(vpn);
    if ((bits & Pte.PRESENT) === 0 || (bits & Pte.SPECIAL) !== 0) return;
    const page = space.table.frameAt(vpn);
    this.memory.poison(page);
    const byte = new Uint8Array(1);
    assert.equal(space.read(vpn * PAGE_BYTES, byte), 0);
    assert.equal(space.copyError, -Errno.EFAULT);
    assert.equal(this.memory.migrate(page), -Errno.EAGAIN);
    this.memory.unpoison(page);
  }
}
