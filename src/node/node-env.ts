import fs from 'node:fs';
import type { FileFlags, FileSystem, HostEnv } from '../base/env.ts';
import { nativeDoor } from './native-door.ts';
import { ringDoor, ringLibcOf } from './ring-door.ts';
import { watchWorkers } from './ring-leases.ts';

/** Where a flag is not known (macOS, Windows) it is 0, and what needs it says so. */
const flags: FileFlags = {
  O_RDONLY: fs.constants.O_RDONLY,
  O_RDWR: fs.constants.O_RDWR,
  O_CREAT: fs.constants.O_CREAT,
  O_EXCL: fs.constants.O_EXCL,
  O_DIRECT: fs.constants.O_DIRECT ?? 0,
};

const nodeFileSystem: FileSystem = {
  flags,
  open: (path, openFlags, mode, done) => fs.open(path, openFlags, mode, done),
  close: (fd, done) => fs.close(fd, done),
  stat: (path, done) => fs.stat(path, done),
  fstat: (fd, done) => fs.fstat(fd, done),
  fstatSync: (fd) => fs.fstatSync(fd),
  read: (fd, view, position, done) => fs.read(fd, view, 0, view.length, position, done),
  readv: (fd, views, position, done) => fs.readv(fd, views, position, done),
  write: (fd, view, bytes, position, done) => fs.write(fd, view, 0, bytes, position, done),
  writev: (fd, views, position, done) => fs.writev(fd, views, position, done),
  fdatasync: (fd, done) => fs.fdatasync(fd, done),
  ftruncate: (fd, bytes, done) => fs.ftruncate(fd, bytes, done),
  unlink: (path, done) => fs.unlink(path, done),
  readText: (path, done) => fs.readFile(path, 'latin1', done),
};

/** libuv's default, and the environment variable by which a program changes it. */
const IO_THREADS_DEFAULT = 4;

function ioThreads(): number {
  const wish = Number.parseInt(process.env['UV_THREADPOOL_SIZE'] ?? '', 10);
  return wish > 0 ? wish : IO_THREADS_DEFAULT;
}

/** Asked once: the global of that name is a getter, which shows in profiles of each transfer. */
const clock = performance;

let instance: HostEnv | null = null;

/** The environment of this process. One for all: the door opens once. */
export function nodeEnv(): HostEnv {
  if (instance !== null) return instance;
  const { door, reason } = nativeDoor();
  const ring = ringDoor(door?.kind ?? null);
  instance = {
    // `process.hrtime.bigint()` would make a BigInt for each call; this is exact to 100 ns.
    nowNs: () => clock.now() * 1e6,
    random: Math.random,
    defer: (fn) => void setImmediate(fn),
    fs: nodeFileSystem,
    native: door,
    nativeReason: reason,
    ring: ring.door,
    ringReason: door === null ? reason : ring.reason,
    ioThreads: ioThreads(),
  };
  return instance;
}

// When this module is loaded, since a worker may be started before this thread opens anything.
watchWorkers(() => {
  const { native } = nodeEnv();
  return native === null ? null : ringLibcOf(native.kind);
});
