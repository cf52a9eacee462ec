import type { DirectAlignment, FileSystem } from '../../base/env.ts';
import { isPowerOfTwo, PAGE_BYTES } from '../../base/units.ts';
import { createRegion } from '../../memory/region.unsafe.ts';

/** What file systems ask for at most, and what all of them take. */
const OFFSET_BYTES_MAX = PAGE_BYTES;
const OFFSET_BYTES_MIN = 512;
const MEMORY_BYTES_MIN = 4;
const REGION_BYTES = 65536;

/**
 * Finds by reading, with ever smaller alignment until one is refused, what O_DIRECT on `fd` asks
 * for. null: even whole pages are refused. A file too short to tell counts as asking for pages.
 */
export async function tryDirectAlignment(
  fs: FileSystem,
  fd: number,
  sizeBytes: number,
): Promise<DirectAlignment | null> {
  const region = createRegion(REGION_BYTES, REGION_BYTES);
  try {
    const reads = (at: number, bytes: number, position: number): Promise<boolean> => {
      const view = new Uint8Array(region.u8.buffer, at, bytes);
      return new Promise((done) => fs.read(fd, view, position, (error) => done(!error)));
    };
    if (!(await reads(0, OFFSET_BYTES_MAX, 0))) return null;
    const pages = { memory: PAGE_BYTES, offset: OFFSET_BYTES_MAX };
    // A read at or behind the end gives 0 bytes before anybody looks at its alignment.
    if (sizeBytes <= OFFSET_BYTES_MIN) return pages;
    let offset = OFFSET_BYTES_MAX;
    while (offset > OFFSET_BYTES_MIN) {
      const half = offset / 2;
      const position = half < sizeBytes ? half : 0;
      if (!(await reads(0, half, position))) break;
      offset = half;
    }
    let memory = PAGE_BYTES;
    while (memory > MEMORY_BYTES_MIN && (await reads(memory / 2, offset, 0))) memory /= 2;
    return isPowerOfTwo(memory) ? { memory, offset } : pages;
  } finally {
    region[Symbol.dispose]();
  }
}
