import type { Region } from '../../memory/region.unsafe.ts';

/**
 * A system library with faster guards, behind the FFI door. Never required: what is null here, or
 * too short to be worth a foreign call, the kernels of this folder do.
 */
export interface GuardLibrary {
  /** For people: 'isa-l 2.30 through koffi'. */
  readonly kind: string;
  /** Below this a foreign call costs more than it saves. */
  readonly bytesMin: number;
  /** Where the memory of `region` starts in the process. Constant while the region lives. */
  addressOf(region: Region): number;
  /** CRC16 T10-DIF after `bytes` more bytes at `address`. */
  readonly crc16: ((state: number, address: number, bytes: number) => number) | null;
}

let library: GuardLibrary | null = null;

/** Runs with `next` are CRC16 by the library from now on; null switches it off. Gives the last. */
export function useGuardLibrary(next: GuardLibrary | null): GuardLibrary | null {
  const last = library;
  library = next;
  return last;
}

export function guardLibrary(): GuardLibrary | null {
  return library;
}
