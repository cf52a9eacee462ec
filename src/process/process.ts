import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { ExtentFile } from '../cache/extent-file.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { UserMemory } from '../memory/user/user-memory.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { OpenFile, type OpenOptions } from './open-file.ts';
import type { CallEnd } from './system-call.ts';
import { type Defer, SystemCalls } from './system-calls.ts';

export interface ProcessOptions {
  readonly memory: UserMemory;
  readonly label?: string | undefined;
  /** Default: a microtask. The simulator gives its clock's. */
  readonly defer?: Defer | undefined;
}

export interface MapFileOptions {
  /** Exactly here (MAP_FIXED). */
  readonly addr?: number | undefined;
  readonly bytes: number;
  /** Protection bits. */
  readonly protection: number;
  readonly shared?: boolean | undefined;
  /** Byte of the file, at a page. */
  readonly offset?: number | undefined;
}

/**
 * An address space and open files. `calls` has the system calls in callback form; the methods here
 * give promises of the same, which reject with a BlockError. Linux: task_struct, as far as its
 * memory and files go.
 */
export class Process {
  readonly label: string;
  readonly memory: UserMemory;
  readonly space: UserSpace;
  readonly files: (OpenFile | null)[] = [];
  readonly calls: SystemCalls;
  readonly #defer: Defer;
  #isAlive = true;

  constructor(options: ProcessOptions, space?: UserSpace) {
    this.memory = options.memory;
    this.label = options.label ?? 'process';
    this.#defer = options.defer ?? ((run) => queueMicrotask(run));
    this.space = space ?? this.memory.newSpace(this.label);
    this.calls = new SystemCalls(this.space, this.files, this.#defer);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** The lowest free descriptor, which names `target` now. */
  open(target: ExtentFile | BlockDevice, options: OpenOptions = {}): number {
    return this.#install(new OpenFile(target, options));
  }

  /** 0, or -EBADF. Calls in flight keep the file open until they end. */
  close(fd: number): number {
    const file = this.files[fd] ?? null;
    if (file === null) return -Errno.EBADF;
    this.files[fd] = null;
    file.release();
    return 0;
  }

  #install(file: OpenFile): number {
    let fd = this.files.indexOf(null);
    if (fd < 0) fd = this.files.length;
    this.files[fd] = file;
    return fd;
  }

  /** Maps a file. The address, or -EBADF, -EINVAL, -ENOMEM; -ENODEV for a block special file. */
  mmapFile(fd: number, options: MapFileOptions): number {
    const file = this.files[fd] ?? null;
    if (file === null) return -Errno.EBADF;
    if (file.file === null) return -Errno.ENODEV;
    const { addr, bytes, protection, shared = false, offset = 0 } = options;
    if (offset < 0 || !isPageAligned(offset)) return -Errno.EINVAL;
    const ops = file.file.areaOps();
    const index = offset / PAGE_BYTES;
    const map = { bytes, protection, shared, ops, index };
    return this.space.mmap(addr === undefined ? map : { ...map, addr });
  }

  /** Writes what the mapping of one file in [addr, addr + bytes) holds: -ENOMEM at a hole. */
  msync(addr: number, bytes: number, done: CallEnd): void {
    const area = this.space.areaAt(addr);
    const isHole = area === null || addr + bytes > area.end;
    if (!isPageAligned(addr) || isHole) {
      const result = isPageAligned(addr) ? -Errno.ENOMEM : -Errno.EINVAL;
      this.#defer(() => done(result));
      return;
    }
    const fd = this.files.findIndex((file) => file?.file?.areaOps() === area.ops);
    if (area.isShared && fd >= 0) this.calls.fsync(fd, done);
    else this.#defer(() => done(0));
  }

  /** A child with a copy of the memory and the same open files. Null: no memory for it. */
  tryFork(label: string): Process | null {
    assert(this.#isAlive, 'fork: the process is gone');
    const space = this.space.tryFork(label);
    if (space === null) return null;
    const child = new Process({ memory: this.memory, label, defer: this.#defer }, space);
    for (const file of this.files) {
      file?.acquire();
      child.files.push(file);
    }
    return child;
  }

  /** The same; throws ENOMEM. */
  fork(label = `child of ${this.label}`): Process {
    const child = this.tryFork(label);
    if (child !== null) return child;
    const reason = `no page left for what the fork of '${this.label}' must copy`;
    throw new BlockError('ENOMEM', { reason, syscall: 'fork' });
  }

  /** Memory and files go at once; calls in flight end with what they did, or -EINTR. */
  kill(): void {
    assert(this.#isAlive, 'kill: the process is gone');
    this.#isAlive = false;
    this.calls.kill();
    for (let fd = 0; fd < this.files.length; fd++) this.close(fd);
    // Pins outlive the mappings: what a device writes to is freed when it has let go.
    this.space.exit();
  }

  /** As `kill`: whoever waits for a call to end exits after it. */
  exit(): void {
    this.kill();
  }

  [Symbol.dispose](): void {
    if (this.#isAlive) this.kill();
  }

  pread(fd: number, addr: number, bytes: number, position: number): Promise<number> {
    return this.#promise('pread', (done) => this.calls.pread(fd, addr, bytes, position, done));
  }

  pwrite(fd: number, addr: number, bytes: number, position: number): Promise<number> {
    return this.#promise('pwrite', (done) => this.calls.pwrite(fd, addr, bytes, position, done));
  }

  read(fd: number, addr: number, bytes: number): Promise<number> {
    return this.#promise('read', (done) => this.calls.read(fd, addr, bytes, done));
  }

  write(fd: number, addr: number, bytes: number): Promise<number> {
    return this.#promise('write', (done) => this.calls.write(fd, addr, bytes, done));
  }

  async fsync(fd: number): Promise<void> {
    await this.#promise('fsync', (done) => this.calls.fsync(fd, done));
  }

  async ftruncate(fd: number, bytes: number): Promise<void> {
    await this.#promise('ftruncate', (done) => this.calls.ftruncate(fd, bytes, done));
  }

  #promise(syscall: string, start: (done: CallEnd) => void): Promise<number> {
    return new Promise((resolve, reject) => {
      start((result) => {
        if (result >= 0) resolve(result);
        else reject(callError(result, syscall, this.label));
      });
    });
  }
}

function isPageAligned(bytes: number): boolean {
  return bytes % PAGE_BYTES === 0;
}

function callError(result: number, syscall: string, label: string): BlockError {
  const reason = `${syscall} of process '${label}' failed`;
  return BlockError.fromErrno(result, { reason, syscall });
}
