import { createRequire } from 'node:module';
import type { Libc } from './libc.ts';

// The one place where foreign functions are bound. Only what `libc.ts` names goes through it.
//
// ioctl is variadic in C, and a variadic call cannot run on another thread. On the architectures
// of the door a pointer travels the same way in both forms, so it is bound with a fixed argument.

const require = createRequire(import.meta.url);

type KoffiLater = (...values: (number | string | Uint8Array | LaterDone)[]) => void;
type LaterDone = (error: Error | null, result: number) => void;
interface KoffiFunction {
  (...values: (number | string | Uint8Array)[]): number;
  async: KoffiLater;
}
interface Koffi {
  load(path: null): { func(definition: string): KoffiFunction };
  errno(): number;
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
  return {
    kind: 'koffi',
    statx: (fd, path, flags, mask, buffer) => statx(fd, path, flags, mask, buffer),
    lseek: (fd, offset, whence) => lseek(fd, offset, whence),
    ioctl: (fd, request, argument) => ioctl(fd, request, argument),
    fallocate: (fd, mode, start, bytes) => fallocate(fd, mode, start, bytes),
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
    errno: () => ffi.getInt32(errnoAt),
    later: null,
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
