// What the path takes from its host, as types only. The simulator owns all of it in a test; on
// Node it is `node/node-env.ts`. No layer before `node/` imports a `node:` module.

/** What every engine needs. */
export interface Env {
  /** Monotonic; a double. */
  nowNs(): number;
  /** From 0 up to, but not including, 1. */
  random(): number;
  /** Runs `fn` once, later, from the loop; never inside this call. In the order of the calls. */
  defer(fn: () => void): void;
}

/** What engines on files need as well. */
export interface HostEnv extends Env {
  readonly fs: FileSystem;
  /** null: no foreign functions here; `nativeReason` says why. */
  readonly native: Native | null;
  readonly nativeReason: string;
  /** Absent or null: no io_uring from here; `ringReason` says why. */
  readonly ring?: RingDoor | null;
  readonly ringReason?: string;
  /** Threads that carry file operations: node:fs has one pool for the process. */
  readonly ioThreads: number;
}

/** As much of a node:fs error as the path reads. */
export interface FsError {
  readonly code?: string | undefined;
  readonly message: string;
}

export type FsDone = (error: FsError | null) => void;
export type FsBytes = (error: FsError | null, bytes: number) => void;
export type FsResult<T> = (error: FsError | null, result: T) => void;

export interface FileStat {
  readonly size: number;
  readonly mode: number;
  readonly dev: number;
  readonly rdev: number;
  readonly blksize: number;
  /** 512-byte units that the file takes on its disk. */
  readonly blocks: number;
}

/** 0 where the platform has no such flag. */
export interface FileFlags {
  readonly O_RDONLY: number;
  readonly O_RDWR: number;
  readonly O_CREAT: number;
  readonly O_EXCL: number;
  readonly O_DIRECT: number;
}

/**
 * node:fs by its shapes. `position` is bytes, a double up to 2^53. Every callback runs once, later
 * (never inside the call); a transfer may be short.
 */
export interface FileSystem {
  readonly flags: FileFlags;
  open(path: string, flags: number, mode: number, done: FsResult<number>): void;
  close(fd: number, done: FsDone): void;
  stat(path: string, done: FsResult<FileStat>): void;
  fstat(fd: number, done: FsResult<FileStat>): void;
  /** For the one question of the data plane: what a file's size is after a short read. */
  fstatSync(fd: number): FileStat;
  read(fd: number, view: Uint8Array, position: number, done: FsBytes): void;
  readv(fd: number, views: readonly Uint8Array[], position: number, done: FsBytes): void;
  write(fd: number, view: Uint8Array, bytes: number, position: number, done: FsBytes): void;
  writev(fd: number, views: readonly Uint8Array[], position: number, done: FsBytes): void;
  fdatasync(fd: number, done: FsDone): void;
  ftruncate(fd: number, bytes: number, done: FsDone): void;
  unlink(path: string, done: FsDone): void;
  /** A small text file, as those of sysfs are. */
  readText(path: string, done: FsResult<string>): void;
}

/** 0, or a negative errno. */
export type NativeDone = (status: number) => void;

/** The door to what node:fs lacks. A result is a number >= 0 or a negative errno. */
export interface Native {
  /** What stands behind the door, for people: 'koffi' … */
  readonly kind: string;
  /** False: a range call blocks the loop while it runs, so callers keep their ranges short. */
  readonly isAsync: boolean;
  /** statx STATX_DIOALIGN, bytes; zeros: no direct I/O on it; null: nobody knows. */
  directAlignment(fd: number): DirectAlignment | null;
  fallocate(fd: number, mode: number, start: number, bytes: number, done: NativeDone): void;
  /** An ioctl that takes { start, bytes } as two 64-bit numbers. */
  ioctlRange(fd: number, request: number, start: number, bytes: number, done: NativeDone): void;
  /** An ioctl that gives a number of `width` bytes. */
  ioctlNumber(fd: number, request: number, width: 2 | 4 | 8): number;
  lseek(fd: number, offset: number, whence: number): number;
  /**
   * fcntl F_OFD_SETLK: the open file `fd` alone has its file for writing, over all processes, until
   * it is closed. 0; -EAGAIN: another one has it; or another -errno.
   */
  lockWhole(fd: number): number;
  /** fcntl F_OFD_GETLK: 1 while another open file has that lock, 0, or -errno. Takes none. */
  isLocked(fd: number): number;
}

export interface DirectAlignment {
  /** Bytes: where in memory a segment may start and end. */
  readonly memory: number;
  /** Bytes: where in the file a transfer may start and end. */
  readonly offset: number;
}

/** Memory that the kernel and this process share. Valid until `unmap`, which nobody may outlive. */
export interface RingArea {
  readonly address: number;
  readonly buffer: ArrayBuffer;
}

/** Calls back from the event loop while a descriptor is readable; level-triggered. */
export interface RingPoll {
  /** Keeps the process alive, or lets it end. A new one is unreferenced. */
  ref(): void;
  unref(): void;
  close(): void;
}

/**
 * The raw system calls of io_uring. Addresses are Numbers below 2^53; results are >= 0 or a
 * negative errno. What an address points to must stay until the kernel has let go of it.
 */
export interface RingDoor {
  /** What stands behind the door, for people: 'koffi' … */
  readonly kind: string;
  /** `address`: struct io_uring_params, filled in by the call. Gives a CLOEXEC descriptor. */
  setup(entries: number, address: number): number;
  enter(
    fd: number,
    submit: number,
    minComplete: number,
    flags: number,
    address: number,
    bytes: number,
  ): number;
  register(fd: number, opcode: number, address: number, count: number): number;
  /** Maps `bytes` of the ring at `offset`, or gives a negative errno. */
  map(fd: number, offset: number, bytes: number): RingArea | number;
  /** Pre: no view of the area is used any more. */
  unmap(area: RingArea): void;
  /** Where the first byte of `view` lies. Only for memory that cannot move. */
  addressOf(view: Uint8Array<SharedArrayBuffer>): number;
  /** A CLOEXEC, non-blocking eventfd that holds `count`. */
  eventfd(count: number): number;
  /** Takes what an eventfd holds, so that it is no longer readable. */
  drain(fd: number): void;
  close(fd: number): void;
  /** null: this door cannot; then the ring waits inside `enter`, a millisecond at most. */
  poll(fd: number, onReadable: () => void): RingPoll | null;
  /**
   * Runs `fn` once: behind the reactions of promises that are due already, before the next events
   * of the loop. It must not throw.
   */
  soon(fn: () => void): void;
  /**
   * Runs `fn` when the thread ends by itself, by `process.exit` or an exception; not after
   * `terminate` of a worker. Gives the function that takes it back.
   */
  atExit(fn: () => void): () => void;
  /** Bytes that the kernel lets this process pin for a ring; Infinity where nobody counts. */
  readonly lockedBytesMax: number;
  /**
   * -1: the ring shares the thread with an event loop. Else the thread is the ring's own and may
   * sleep in `enter` for good; this eventfd wakes it.
   */
  readonly wakeFd: number;
}
