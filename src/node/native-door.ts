import fs from 'node:fs';
import {
  AT_EMPTY_PATH,
  F_OFD_GETLK,
  F_UNLCK,
  F_WRLCK,
  OFFSETOF_L_TYPE,
  OFFSETOF_STX_INO,
  OFFSETOF_STX_SIZE,
  SEEK_SET,
  SIZEOF_FLOCK,
  SIZEOF_STATX,
  STATX_INO,
  STATX_SIZE,
} from '../abi/linux-fs.ts';
import type { Native } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import { koffiLibc, nodeLibc } from './ffi.unsafe.ts';
import type { Libc } from './libc.ts';
import { LinuxNative } from './linux-native.ts';

export interface NativeDoor {
  readonly door: Native | null;
  /** Which way it opened, or why it did not. */
  readonly reason: string;
}

/** BIOVEC_FFI: one way only, for tests and for programs that distrust the others. */
export const FFI_CHOICES = ['koffi', 'node', 'none'] as const;
export type FfiChoice = (typeof FFI_CHOICES)[number];

/** Little-endian, 64 bits, and the ioctl numbers of asm-generic. */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64'];

const OPENERS: Readonly<Record<Exclude<FfiChoice, 'none'>, () => Libc>> = {
  koffi: koffiLibc,
  node: nodeLibc,
};

/** Opens the FFI door: koffi, else node:ffi, else none. Never throws. */
export function nativeDoor(choice = process.env['BIOVEC_FFI'] ?? ''): NativeDoor {
  if (choice === 'none') return { door: null, reason: 'switched off by BIOVEC_FFI=none' };
  if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch)) {
    const host = `${process.platform} on ${process.arch}`;
    return { door: null, reason: `${host}: the foreign functions are those of 64-bit Linux` };
  }
  const faults: string[] = [];
  for (const name of ['koffi', 'node'] as const) {
    if (choice !== '' && choice !== name) continue;
    try {
      const libc = OPENERS[name]();
      selfTest(libc);
      return { door: new LinuxNative(libc), reason: `${libc.kind} opened it` };
    } catch (error) {
      faults.push(`${name}: ${firstLine(error)}`);
    }
  }
  if (faults.length > 0) return { door: null, reason: faults.join('; ') };
  const reason = `BIOVEC_FFI is '${choice}'; it may be ${FFI_CHOICES.join(', ')}`;
  return { door: null, reason };
}

/**
 * A wrong signature would write somewhere else without a sound, so known answers come first: a
 * file's size and inode as node:fs tells them, and an errno.
 */
function selfTest(libc: Libc): void {
  const fd = fs.openSync(process.execPath, 'r');
  try {
    const known = fs.fstatSync(fd, { bigint: true });
    const buffer = new Uint8Array(SIZEOF_STATX);
    const result = libc.statx(fd, '', AT_EMPTY_PATH, STATX_SIZE | STATX_INO, buffer);
    const fields = new DataView(buffer.buffer);
    expect(result === 0, 'statx failed');
    expect(fields.getBigUint64(OFFSETOF_STX_SIZE, true) === known.size, 'statx: wrong size');
    expect(fields.getBigUint64(OFFSETOF_STX_INO, true) === known.ino, 'statx: wrong inode');
    expect(libc.lseek(fd, 4096, SEEK_SET) === 4096, 'lseek: wrong position');
    expect(libc.lseek(-1, 0, SEEK_SET) === -1, 'lseek: no error');
    expect(libc.errno() === Errno.EBADF, 'errno: not that of the last call');
    expect(libc.fallocate(-1, 0, 0, 1) === -1, 'fallocate: no error');
    expect(libc.errno() === Errno.EBADF, 'errno: not that of the last call');
    const lock = new Uint8Array(SIZEOF_FLOCK);
    lock[OFFSETOF_L_TYPE] = F_WRLCK;
    expect(libc.fcntl(fd, F_OFD_GETLK, lock) === 0, 'fcntl failed');
    expect(lock[OFFSETOF_L_TYPE] === F_UNLCK, 'fcntl: a lock on the executable');
    expect(libc.fcntl(-1, F_OFD_GETLK, lock) === -1, 'fcntl: no error');
    expect(libc.errno() === Errno.EBADF, 'errno: not that of the last call');
    expect(libc.ioctl(-1, 0, buffer) === -1, 'ioctl: no error');
    expect(libc.errno() === Errno.EBADF, 'errno: not that of the last call');
  } finally {
    fs.closeSync(fd);
  }
}

function expect(condition: boolean, fault: string): void {
  if (!condition) throw new Error(`self-test: ${fault}`);
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0];
}
