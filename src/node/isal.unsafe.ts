import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { GuardLibrary } from '../integrity/guards/guard-library.ts';
import type { Region } from '../memory/region.unsafe.ts';

// Intel's storage library, where the system has it: CRC16 T10-DIF with carry-less multiplication.
// Its CRC64 of NVMe is newer than what distributions ship, and a 64-bit result would be a BigInt.

const require = createRequire(import.meta.url);

/** Names of the library: Linux, then macOS. */
const FILES = ['libisal.so.2', 'libisal.2.dylib'];
/**
 * From here on it beats WebAssembly in spite of a foreign call for each interval (about 45 ns).
 */
const BYTES_MIN = 1024;
/**
 * The library chooses AVX-512 where the processor has it, which takes 140 ns to start and pays for
 * many kilobytes only; an interval has 4. With 128 bits 4096 bytes are 180 ns instead of 230 from
 * the first cache, 335 instead of 375 from the second (best quarter of rounds, version 2.30 on a
 * Xeon of 2023).
 */
const NARROW = 'crc16_t10dif_01';
const ANY = 'crc16_t10dif';

type Foreign = (...values: (number | Uint8Array)[]) => number;

interface Koffi {
  load(path: string | null): { func(definition: string): Foreign };
}

export interface IsalDoor {
  readonly library: GuardLibrary | null;
  /** Which way it opened, or why it did not. */
  readonly reason: string;
}

/** Opens the library. Never throws. BIOVEC_FFI=none switches it off with the rest of the FFI. */
export function isalGuards(choice = process.env['BIOVEC_FFI'] ?? ''): IsalDoor {
  if (choice !== '' && choice !== 'koffi') {
    return { library: null, reason: `BIOVEC_FFI is '${choice}'; it needs koffi` };
  }
  const faults: string[] = [];
  for (const file of FILES) {
    try {
      return { library: bind(file), reason: `${file} through koffi` };
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      faults.push(text.split('\n', 1)[0] as string);
    }
  }
  return { library: null, reason: faults[0] ?? 'no library' };
}

function bind(file: string): GuardLibrary {
  const koffi = require('koffi') as Koffi;
  const crc16 = bindCrc16(koffi, file);
  // The cheapest function that gives a pointer back as a number.
  const memmove = koffi
    .load(null)
    .func('uintptr_t memmove(uint8_t *to, uint8_t *from, size_t bytes)');
  selfTest(crc16, memmove);
  const addresses = new WeakMap<object, number>();
  let lastMemory: object | null = null;
  let lastAddress = 0;
  return {
    kind: `isa-l (${file}) through koffi`,
    bytesMin: BYTES_MIN,
    addressOf: (region: Region): number => {
      const memory = region.memory ?? region.u8.buffer;
      if (memory === lastMemory) return lastAddress;
      let address = addresses.get(memory);
      if (address === undefined) {
        const view = region.u8.subarray(0, 1);
        address = memmove(view, view, 0);
        addresses.set(memory, address);
      }
      lastMemory = memory;
      lastAddress = address;
      return address;
    },
    crc16: (state, address, bytes) => crc16(state, address, bytes),
  };
}

/** Without carry-less multiplication, or under another name, the library chooses by itself. */
function bindCrc16(koffi: Koffi, file: string): Foreign {
  const library = koffi.load(file);
  const bindTo = (name: string): Foreign =>
    library.func(`uint16_t ${name}(uint16_t start, uintptr_t bytes, uint64_t count)`);
  if (!hasCarrylessMultiply()) return bindTo(ANY);
  try {
    return bindTo(NARROW);
  } catch {
    return bindTo(ANY);
  }
}

/** False also where nobody tells: on a processor without it the process would end. */
function hasCarrylessMultiply(): boolean {
  try {
    return /^flags\b.*\bpclmulqdq\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

/** A wrong signature would read somewhere else without a sound, so a known answer comes first. */
function selfTest(crc16: Foreign, memmove: Foreign): void {
  const view = new Uint8Array(new SharedArrayBuffer(64));
  view.set(new TextEncoder().encode('123456789'));
  const crc = crc16(0, memmove(view, view, 0), 9);
  if (crc !== 0xd0db) throw new Error(`self-test: crc16 of '123456789' is ${crc}, not 0xd0db`);
}
