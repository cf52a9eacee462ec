import assert from 'node:assert/strict';
import { Errno } from '../base/errno.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { copyIn } from '../memory/copy.ts';
import { dirtyRange, unpinPages } from '../memory/holds.ts';
import { PinFlag, tryPinUserPages } from '../memory/user/pin-user-pages.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { at, CacheRig, PAGE, pattern, type RigOptions } from './cache-rig.fuzz.ts';
import type { ExtentFile } from './extent-file.ts';
import { type FileCommand, MODEL_PAGES, OWN_PAGES } from './file-commands.fuzz.ts';
import type { ExtentFileOptions } from './file-options.ts';

/** What a disk says, and what memory or device may lack. */
const PLANNED = [
  Errno.EIO,
  Errno.ETIMEDOUT,
  Errno.EREMOTEIO,
  Errno.ENOSPC,
  Errno.ENOMEM,
  Errno.EFAULT,
] as const;

// A file against an array of bytes: whatever happens to pages, blocks and mappings in between,
// every read must give the bytes of the array, and so must the device after an fsync.

const MODEL_BYTES = MODEL_PAGES * PAGE;
/** Where the process maps the file, and where its own memory is. */
const MAP_ADDR = 0x4000_0000;

interface Pin {
  readonly page: number;
  readonly index: number;
}

/** Runs commands in a world of their own; a failure leaves no memory behind. */
export async function runCommands(
  commands: readonly FileCommand[],
  rig: RigOptions,
  file: Partial<ExtentFileOptions>,
  traits: ModelTraits,
): Promise<void> {
  const model = new FileModel(rig, file, traits);
  try {
    for (const command of commands) model.run(command);
    model.finish();
    await model.rig.closed;
  } catch (error) {
    model.rig.abandon();
    throw error;
  }
}

/** What must hold apart from the bytes. */
export interface ModelTraits {
  /** Memory and device have room for everything, and nothing fails: results are exact. */
  readonly isAmple: boolean;
}

class FileModel {
  readonly rig: CacheRig;
  readonly file: ExtentFile;
  readonly space: UserSpace;
  #bytes = new Uint8Array(0);
  readonly #pins: Pin[] = [];
  readonly #traits: ModelTraits;
  #seed = 1;

  constructor(rig: RigOptions, file: Partial<ExtentFileOptions>, traits: ModelTraits) {
    this.rig = new CacheRig(rig);
    this.file = this.rig.file(file);
    this.space = this.rig.space(OWN_PAGES);
    this.rig.mapFile(this.space, this.file, MAP_ADDR, MODEL_PAGES);
    this.#traits = traits;
  }

  run(command: FileCommand): void {
    const { at: start, length } = command;
    const end = Math.min(start + length, MODEL_BYTES);
    switch (command.kind) {
      case 'write':
        this.#write(command, end - start);
        return;
      case 'read':
        this.#read(command, end - start);
        return;
      case 'truncate': {
        const error = this.rig.truncate(this.file, start);
        if (error === 0) this.#resize(start);
        this.#mayFail(error);
        return;
      }
      case 'punch': {
        const error = this.rig.punch(this.file, start, end);
        if (error === 0) this.#bytes.fill(0, start, Math.min(end, this.#bytes.length));
        this.#mayFail(error);
        return;
      }
      case 'allocate': {
        const error = this.rig.allocate(this.file, start, end, command.isDirect);
        if (error === 0 && !command.isDirect) this.#resize(Math.max(end, this.#bytes.length));
        this.#mayFail(error);
        return;
      }
      case 'fsync':
        this.#fsync();
        return;
      case 'reclaim':
        this.rig.memory.reclaim(command.hole + 1);
        return;
      case 'migrate':
        this.#migrate(Math.floor(start / PAGE));
        return;
      case 'store':
        this.#store(start, Math.min(length, 2 * PAGE));
        return;
      case 'load':
        this.#load(start, Math.min(length, 2 * PAGE));
        return;
      case 'pin':
        this.#pin(Math.floor(start / PAGE));
        return;
      case 'dma':
        this.#dma(command.hole);
        return;
      case 'unpin':
        this.#unpin(command.hole);
        return;
      case 'fork':
        this.#fork();
        return;
    }
  }

  /** Everything is read, written back, compared, and given back. */
  finish(): void {
    while (this.#pins.length > 0) this.#unpin(0);
    this.#check('before the end');
    this.file.verify();
    let rounds = 0;
    while (this.rig.fsync(this.file) !== 0) assert.ok(++rounds < 100, 'fsync never succeeds');
    assert.equal(this.file.cache.countDirty(), 0, 'dirty pages after fsync');
    this.#checkDevice('at the end');
    this.rig[Symbol.dispose]();
  }

  /**
   * The file's bytes, and zeros behind its end: nobody's old bytes, nor those of a mapping. Only a
   * failed direct write may leave some of its own there, until the file grows.
   */
  #checkDevice(when: string): void {
    const size = this.#bytes.length;
    const expected = new Uint8Array(this.#traits.isAmple ? Math.ceil(size / PAGE) * PAGE : size);
    expected.set(this.#bytes);
    const there = this.rig.onDevice(this.file, expected.length);
    assert.deepEqual(there, expected, `the device differs ${when}`);
  }

  #fresh(length: number): Uint8Array {
    return pattern(length, this.#seed++);
  }

  #resize(size: number): void {
    const next = new Uint8Array(size);
    next.set(this.#bytes.subarray(0, size));
    this.#bytes = next;
  }

  /** Source bytes in the memory of the process, one page of which may be missing. */
  #write(command: FileCommand, length: number): void {
    const { rig, space, file } = this;
    const data = this.#fresh(length);
    const skew = command.hole % 3 === 0 ? 0 : 512;
    const room = Math.min(length, OWN_PAGES * PAGE - skew);
    assert.equal(this.#poke(at(0) + skew, data.subarray(0, room)), room);
    const reachable = Math.min(room, Math.max(command.hole * PAGE - skew, 0));
    if (command.hole < OWN_PAGES) assert.equal(space.munmap(at(command.hole), PAGE), 0);
    const direct = { direct: command.isDirect };
    const result = rig.writeUser(file, command.at, space, at(0) + skew, room, direct);
    this.#remap();
    const most = command.hole < OWN_PAGES ? reachable : room;
    if (this.#traits.isAmple) {
      const isFault = most === 0 && room > 0;
      assert.equal(result, isFault ? -Errno.EFAULT : most, 'bytes written');
    }
    assert.ok(result <= most, 'wrote what it could not read');
    if (result > 0) {
      if (command.at + result > this.#bytes.length) this.#resize(command.at + result);
      this.#bytes.set(data.subarray(0, result), command.at);
    }
    if (result < 0 && !this.#traits.isAmple) this.#mayFail(result);
    if (command.isDirect && result < room) this.#resync(command.at, data.subarray(0, most), room);
  }

  /** A direct write that ended early may have put any of its bytes there, but no others. */
  #resync(start: number, data: Uint8Array, reach: number): void {
    const { file } = this;
    const end = Math.min(start + reach, file.size);
    if (this.#bytes.length !== file.size) this.#resize(file.size);
    for (let i = start; i < end; i++) {
      const now = this.#byteAt(i);
      const isZero = now === 0 && file.directIoFault === 'zero-fill';
      const isKnown = now === this.#bytes[i] || now === data[i - start] || isZero;
      assert.ok(isKnown, `byte ${i} is neither old nor new after a failed direct write`);
      this.#bytes[i] = now;
    }
  }

  #byteAt(position: number): number {
    const page = Math.floor(position / PAGE);
    if (this.#shown?.page !== page) this.#shown = { page, bytes: this.#readAll(page * PAGE, PAGE) };
    return this.#shown.bytes[position % PAGE] as number;
  }
  #shown: { page: number; bytes: Uint8Array } | null = null;

  /** Reads until the disk is willing, into memory that is never missing. */
  #readAll(start: number, length: number): Uint8Array {
    const { rig, file } = this;
    const out = new Uint8Array(length);
    const iter = new IovIter();
    for (let round = 0; round < 100; round++) {
      iter.initView(IterDirection.DEST, out);
      const got = rig.wait((end) => file.startRead(start, iter, {}, end));
      if (got >= Math.min(length, Math.max(file.size - start, 0))) return out.subarray(0, got);
    }
    assert.fail('the file cannot be read');
  }

  #remap(): void {
    const { space } = this;
    space.munmap(at(0), OWN_PAGES * PAGE);
    assert.equal(space.mmap({ addr: at(0), bytes: OWN_PAGES * PAGE, protection: 3 }), at(0));
    this.#shown = null;
  }

  #read(command: FileCommand, length: number): void {
    const { rig, space, file } = this;
    const room = Math.min(length, OWN_PAGES * PAGE);
    if (command.hole < OWN_PAGES) assert.equal(space.munmap(at(command.hole), PAGE), 0);
    const direct = { direct: command.isDirect };
    const result = rig.readUser(file, command.at, space, at(0), room, direct);
    const inFile = Math.max(Math.min(room, this.#bytes.length - command.at), 0);
    const most = Math.min(inFile, command.hole < OWN_PAGES ? command.hole * PAGE : inFile);
    if (this.#traits.isAmple) {
      assert.equal(result, most === 0 && inFile > 0 ? -Errno.EFAULT : most, 'bytes read');
    } else if (result < 0) {
      this.#mayFail(result);
    }
    if (result > 0) {
      assert.ok(result <= most, 'read more than there is');
      const got = new Uint8Array(result);
      assert.equal(this.#peek(at(0), got), result);
      const expected = this.#bytes.subarray(command.at, command.at + result);
      assert.deepEqual(got, new Uint8Array(expected), 'wrong bytes read');
    }
    this.#remap();
  }

  #fsync(): void {
    const error = this.rig.fsync(this.file);
    this.#mayFail(error);
    if (error !== 0) return;
    // Pinned pages may stay dirty, but what they have is on the device now.
    this.#checkDevice('after fsync');
  }

  #migrate(index: number): void {
    const page = this.file.cache.pageAt(index);
    if (page < 0) return;
    const result = this.rig.memory.migrate(page);
    const isPinned = this.#pins.some((pin) => pin.page === page);
    if (isPinned) assert.equal(result, -Errno.EAGAIN, 'a pinned page was moved');
  }

  /** The program's own store instructions; they wait for pages as often as they must. */
  #poke(addr: number, data: Uint8Array): number {
    return this.#access(data.length, (done) => this.space.write(addr + done, data.subarray(done)));
  }

  #peek(addr: number, into: Uint8Array): number {
    return this.#access(into.length, (done) => this.space.read(addr + done, into.subarray(done)));
  }

  #access(length: number, move: (done: number) => number): number {
    let done = 0;
    for (let round = 0; round < 1000; round++) {
      done += move(done);
      if (done === length || this.space.copyError !== -Errno.EAGAIN) return done;
      let isAwake = false;
      this.space.whenReady(() => {
        isAwake = true;
      });
      while (!isAwake) assert.ok(this.rig.clock.step(), 'a fault waits for ever');
    }
    assert.fail('a fault never ends');
  }

  /** Up to the end of the last page; what is behind the end of the file is nobody's. */
  #store(start: number, length: number): void {
    const mapped = Math.ceil(this.#bytes.length / PAGE) * PAGE;
    const data = this.#fresh(length);
    const done = this.#poke(MAP_ADDR + start, data);
    const inMap = Math.max(Math.min(length, mapped - start), 0);
    if (this.#traits.isAmple) assert.equal(done, inMap, 'bytes stored');
    assert.ok(done <= inMap, 'stored behind the end of the file');
    const inFile = Math.max(Math.min(done, this.#bytes.length - start), 0);
    if (inFile > 0) this.#bytes.set(data.subarray(0, inFile), start);
  }

  #load(start: number, length: number): void {
    const got = new Uint8Array(length);
    const done = this.#peek(MAP_ADDR + start, got);
    const mapped = Math.ceil(this.#bytes.length / PAGE) * PAGE;
    const inMap = Math.max(Math.min(length, mapped - start), 0);
    if (this.#traits.isAmple) assert.equal(done, inMap, 'bytes loaded');
    const inFile = Math.max(Math.min(done, this.#bytes.length - start), 0);
    const expected = new Uint8Array(this.#bytes.subarray(start, start + inFile));
    assert.deepEqual(got.subarray(0, inFile), expected, 'wrong bytes loaded');
  }

  /** A device gets the page to write to, whenever it likes. */
  #pin(index: number): void {
    const out = new Uint32Array(1);
    const addr = MAP_ADDR + index * PAGE;
    for (let round = 0; round < 100; round++) {
      const got = tryPinUserPages(this.space, addr, 1, PinFlag.WRITE, out, 0);
      if (got === 1) {
        this.#pins.push({ page: out[0] as number, index });
        return;
      }
      if (got !== -Errno.EAGAIN) return;
      let isAwake = false;
      this.space.whenReady(() => {
        isAwake = true;
      });
      while (!isAwake) assert.ok(this.rig.clock.step(), 'a pin waits for ever');
    }
  }

  #dma(choice: number): void {
    const pin = this.#pins[choice % Math.max(this.#pins.length, 1)];
    if (pin === undefined) return;
    const data = this.#fresh(PAGE);
    copyIn(pin.page, 0, data, 0, PAGE);
    if (this.file.cache.pageAt(pin.index) !== pin.page) return; // Truncated: lost, as it must be.
    const start = pin.index * PAGE;
    const inFile = Math.max(Math.min(PAGE, this.#bytes.length - start), 0);
    if (inFile > 0) this.#bytes.set(data.subarray(0, inFile), start);
  }

  #unpin(choice: number): void {
    const [pin] = this.#pins.splice(choice % Math.max(this.#pins.length, 1), 1);
    if (pin === undefined) return;
    dirtyRange(pin.page, 0, PAGE);
    unpinPages(pin.page, 1);
  }

  /** A child that shares the mapping, and goes again. */
  #fork(): void {
    let child: UserSpace;
    try {
      child = this.space.fork('child');
    } catch {
      return; // No memory for the child.
    }
    child.exit();
  }

  #mayFail(error: number): void {
    if (error === 0) return;
    assert.ok(!this.#traits.isAmple, `an operation failed: ${error}`);
    assert.ok(
      PLANNED.some((errno) => errno === -error),
      `an error that nobody planned: ${error}`,
    );
  }

  #check(when: string): void {
    assert.equal(this.file.size, this.#bytes.length);
    if (this.#bytes.length === 0) return;
    const got = this.#readAll(0, this.#bytes.length);
    assert.deepEqual(got, this.#bytes, `the file differs ${when}`);
  }
}
