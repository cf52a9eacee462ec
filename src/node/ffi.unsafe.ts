import { createRequire } from 'node:module';
import { SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup } from '../abi/io-uring.ts';
import type { RingPoll } from '../base/env.ts';
import type { Libc } from './libc.ts';
import type { RingLibc } from './ring-libc.ts';

// The one place where foreign functions are bound. Only what `libc.ts` and `ring-libc.ts` name goes
// through it.
//
// ioctl and fcntl are variadic in C, and a variadic call cannot run on another thread. On the
// architectures of the door a pointer travels the same way in both forms, so they are bound with a
// fixed argument.

const require = createRequire(import.meta.url);

type KoffiLater = (...values: (number | string | Uint8Array | LaterDone)[]) => void;
type LaterDone = (error: Error | null, result: number) => void;
interface KoffiFunction {
  (...values: (number | string | Uint8Array)[]): number;
  async: KoffiLater;
}
interface Koffi {
  load(path: null): {
    func(definition: string): KoffiFunction;
    func(name: string, result: string, types: readonly string[]): KoffiFunction;
  };
  errno(): number;
  view(address: number, bytes: number): ArrayBuffer;
  readonly node?: {
    poll(fd: number, events: { readonly readable: boolean }, callback: () => void): RingPoll;
  };
}

/** Throws when koffi is not installed, has no binary for this host, or a symbol is missing. */
export function koffiLibc(): Libc {
  const koffi = require('koffi') as Koffi;
  const host = koffi.load(null); // The process itself: it has loaded the C library, glibc or musl.
  const statx = host.func(
    'int statx(int fd, const char *path, int flags, unsigned int mask, uint8_t *buffer)',
  );
  const lseek = host.func('int64_t lseek(int fd, int64_t offset, int whence)');
  const ioctl = host.func('int ioctl(int fd, unsigned long request, uint8_t *argument)');
  const fallocate = host.func('int fallocate(int fd, int mode, int64_t start, int64_t bytes)');
  const fcntl = host.func('int fcntl(int fd, int command, uint8_t *argument)');
  return {
    kind: 'koffi',
    statx: (fd, path, flags, mask, buffer) => statx(fd, path, flags, mask, buffer),
    lseek: (fd, offset, whence) => lseek(fd, offset, whence),
    ioctl: (fd, request, argument) => ioctl(fd, request, argument),
    fallocate: (fd, mode, start, bytes) => fallocate(fd, mode, start, bytes),
    fcntl: (fd, command, argument) => fcntl(fd, command, argument),
    errno: () => koffi.errno(),
    later: {
      ioctl: (fd, request, argument, done) => ioctl.async(fd, request, argument, done),
      fallocate: (fd, mode, start, bytes, done) => fallocate.async(fd, mode, start, bytes, done),
    },
  };
}

/** Throws when this Node has no node:ffi or does not allow it. */
export function nodeLibc(): Libc {
  const ffi = quietly(() => process.getBuiltinModule('node:ffi'));
  if (ffi === undefined) throw new Error('this Node has no node:ffi');
  const { functions: c } = ffi.dlopen(null, {
    statx: { arguments: ['i32', 'string', 'i32', 'u32', 'buffer'], return: 'i32' },
    lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
    ioctl: { arguments: ['i32', 'u64', 'buffer'], return: 'i32' },
    fallocate: { arguments: ['i32', 'i32', 'i64', 'i64'], return: 'i32' },
    fcntl: { arguments: ['i32', 'i32', 'buffer'], return: 'i32' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  // The address is fixed for a thread; the value behind it is that of the last call.
  const errnoAt = c.__errno_location();
  return {
    kind: 'node:ffi',
    statx: (fd, path, flags, mask, buffer) => c.statx(fd, path, flags, mask, buffer),
    lseek: (fd, offset, whence) => Number(c.lseek(fd, BigInt(offset), whence)),
    ioctl: (fd, request, argument) => c.ioctl(fd, BigInt(request), argument),
    fallocate: (fd, mode, start, bytes) => c.fallocate(fd, mode, BigInt(start), BigInt(bytes)),
    fcntl: (fd, command, argument) => c.fcntl(fd, command, argument),
    errno: () => ffi.getInt32(errnoAt),
    later: null,
  };
}

/**
 * The system calls of io_uring, which the C library has no names for. `syscall` is variadic in C
 * too; integers travel alike in both forms. Throws as `koffiLibc` does.
 */
export function koffiRingLibc(): RingLibc {
  const koffi = require('koffi') as Koffi;
  const host = koffi.load(null);
  const number = ['int', 'int', 'uint32_t', 'uint32_t', 'uint32_t', 'uintptr_t', 'size_t'];
  const enter = host.func('syscall', 'int', number);
  const setup = host.func('syscall', 'int', ['int', 'uint32_t', 'uintptr_t']);
  const register = host.func('syscall', 'int', ['int', 'int', 'uint32_t', 'uintptr_t', 'uint32_t']);
  const mmap = host.func(
    'intptr_t mmap(uintptr_t at, size_t bytes, int access, int flags, int fd, int64_t offset)',
  );
  const munmap = host.func('int munmap(uintptr_t at, size_t bytes)');
  const eventfd = host.func('int eventfd(unsigned int count, int flags)');
  const read = host.func('int64_t read(int fd, uintptr_t address, size_t bytes)');
  const close = host.func('int close(int fd)');
  // The cheapest function that gives a pointer back as a number: it copies nothing.
  const memmove = host.func('uintptr_t memmove(uint8_t *to, uint8_t *from, size_t bytes)');
  const { node } = koffi;
  return {
    kind: 'koffi',
    setup: (entries, address) => setup(SYS_io_uring_setup, entries, address),
    enter: (fd, submit, minComplete, flags, address, bytes) =>
      enter(SYS_io_uring_enter, fd, submit, minComplete, flags, address, bytes),
    register: (fd, opcode, address, count) =>
      register(SYS_io_uring_register, fd, opcode, address, count),
    mmap: (bytes, fd, offset) => mmap(0, bytes, PROT_READ_WRITE, MAP_RING, fd, offset),
    munmap: (address, bytes) => munmap(address, bytes),
    eventfd: (count, flags) => eventfd(count, flags),
    read: (fd, address, bytes) => read(fd, address, bytes),
    close: (fd) => close(fd),
    addressOf: (view) => memmove(view, view, 0),
    view: (address, bytes) => koffi.view(address, bytes),
    errno: () => koffi.errno(),
    poll: node === undefined ? null : (fd, callback) => node.poll(fd, { readable: true }, callback),
  };
}

/** sys/mman.h: PROT_READ | PROT_WRITE; MAP_SHARED | MAP_POPULATE. */
const PROT_READ_WRITE = 3;
const MAP_RING = 0x8001;

/** Throws as `nodeLibc` does. */
export function nodeRingLibc(): RingLibc {
  const ffi = quietly(() => process.getBuiltinModule('node:ffi'));
  if (ffi === undefined) throw new Error('this Node has no node:ffi');
  // The same symbol in three forms: each way of calling is bound on its own.
  const { syscall: enter } = ffi.dlopen(null, {
    syscall: { arguments: ['i32', 'i32', 'u32', 'u32', 'u32', 'u64', 'u64'], return: 'i32' },
  }).functions;
  const { syscall: setup } = ffi.dlopen(null, {
    syscall: { arguments: ['i32', 'u32', 'u64'], return: 'i32' },
  }).functions;
  const { syscall: register } = ffi.dlopen(null, {
    syscall: { arguments: ['i32', 'i32', 'u32', 'u64', 'u32'], return: 'i32' },
  }).functions;
  const { functions: c } = ffi.dlopen(null, {
    mmap: { arguments: ['u64', 'u64', 'i32', 'i32', 'i32', 'i64'], return: 'i64' },
    munmap: { arguments: ['u64', 'u64'], return: 'i32' },
    eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
    read: { arguments: ['i32', 'u64', 'u64'], return: 'i64' },
    close: { arguments: ['i32'], return: 'i32' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  const errnoAt = c.__errno_location();
  return {
    kind: 'node:ffi',
    setup: (entries, address) => setup(SYS_io_uring_setup, entries, BigInt(address)),
    enter: (fd, submit, minComplete, flags, address, bytes) =>
      enter(SYS_io_uring_enter, fd, submit, minComplete, flags, BigInt(address), BigInt(bytes)),
    register: (fd, opcode, address, count) =>
      register(SYS_io_uring_register, fd, opcode, BigInt(address), count),
    mmap: (bytes, fd, offset) =>
      Number(c.mmap(0n, BigInt(bytes), PROT_READ_WRITE, MAP_RING, fd, BigInt(offset))),
    munmap: (address, bytes) => c.munmap(BigInt(address), BigInt(bytes)),
    eventfd: (count, flags) => c.eventfd(count, flags),
    read: (fd, address, bytes) => Number(c.read(fd, BigInt(address), BigInt(bytes))),
    close: (fd) => c.close(fd),
    addressOf: (view) => Number(ffi.getRawPointer(view)),
    view: (address, bytes) => ffi.toArrayBuffer(BigInt(address), bytes, false),
    errno: () => ffi.getInt32(errnoAt),
    poll: null,
  };
}

/** Loading node:ffi prints a warning that a user of this library can do nothing about. */
function quietly<T>(load: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}
