import fs from 'node:fs';
import type { RingDoor } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import { koffiRingLibc, nodeRingLibc } from './ffi.unsafe.ts';
import { LinuxRing } from './linux-ring.ts';
import { ownLeases } from './ring-leases.ts';
import type { RingLibc } from './ring-libc.ts';

export interface RingDoorResult {
  readonly door: RingDoor | null;
  /** Which way it opened, or why it did not. */
  readonly reason: string;
}

/** Opens the ring's door by the FFI library that the other door opened with. Never throws. */
export function ringDoor(ffiKind: string | null, wakeFd = -1): RingDoorResult {
  if (ffiKind === null) return { door: null, reason: 'no foreign functions' };
  try {
    const libc = ringLibcOf(ffiKind);
    const leases = ownLeases();
    const door = new LinuxRing({ libc, lockedBytesMax: lockedBytesMax(), wakeFd, leases });
    selfTest(door, libc);
    return { door, reason: `${libc.kind} opened it` };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { door: null, reason: `${ffiKind}: ${text.split('\n', 1)[0]}` };
  }
}

/** Throws when the library cannot bind them. */
export function ringLibcOf(ffiKind: string): RingLibc {
  return ffiKind === 'koffi' ? koffiRingLibc() : nodeRingLibc();
}

/** Known answers first, as for the other door: errors, an address, an eventfd by that address. */
function selfTest(door: RingDoor, libc: RingLibc): void {
  const bytes = new Uint8Array(new SharedArrayBuffer(64));
  const address = door.addressOf(bytes);
  expect(Number.isSafeInteger(address) && address > 0, 'an address is no number below 2^53');
  expect(door.addressOf(bytes.subarray(16)) === address + 16, 'a view has another address');
  expect(door.enter(-1, 0, 0, 0, 0, 0) === -Errno.EBADF, 'enter: no error');
  expect(door.register(-2, 0, 0, 0) === -Errno.EBADF, 'register: no error');
  expect(typeof door.map(-1, 0, 4096) === 'number', 'mmap: no error');
  const known = 0x1234567;
  const fd = door.eventfd(known);
  expect(fd >= 0, 'eventfd failed');
  try {
    expect(libc.read(fd, address + 8, 8) === 8, 'read: no bytes');
    const fields = new DataView(bytes.buffer);
    expect(fields.getUint32(8, true) === known, 'read: wrong place or value');
  } finally {
    door.close(fd);
  }
}

const CAP_IPC_LOCK = 14;

/** RLIMIT_MEMLOCK, which the kernel counts only for those without CAP_IPC_LOCK. */
function lockedBytesMax(): number {
  try {
    const status = fs.readFileSync('/proc/self/status', 'latin1');
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
    if (((effective >> BigInt(CAP_IPC_LOCK)) & 1n) === 1n) return Number.POSITIVE_INFINITY;
    const limits = fs.readFileSync('/proc/self/limits', 'latin1');
    const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1] ?? '0';
    return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  } catch {
    return 0; // Nobody tells: nothing is registered, and all else works.
  }
}

function expect(condition: boolean, fault: string): void {
  if (!condition) throw new Error(`self-test: ${fault}`);
}
