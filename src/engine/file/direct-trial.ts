import type { DirectAlignment, FileSystem } from '../../base/env.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { createRegion, type Region } from '../../memory/region.unsafe.ts';

/** What file systems ask for at most, and what all of them take. */
const OFFSET_BYTES_MAX = PAGE_BYTES;
const OFFSET_BYTES_MIN = 512;
const MEMORY_BYTES_MIN = 4;
/** Room for two segments of any block, and one of WebAssembly's pages. */
const REGION_BYTES = 3 * 65536;
const SECOND_SEGMENT = REGION_BYTES / 2;

export interface TrialSubject {
  readonly fs: FileSystem;
  /** Opened with O_DIRECT. */
  readonly fd: number;
  readonly sizeBytes: number;
}

/** A read at or behind the end gives 0 bytes before anybody looks at its alignment. */
export function isTooShortToTell(subject: TrialSubject): boolean {
  return subject.sizeBytes <= OFFSET_BYTES_MIN;
}

/**
 * Finds by reading, with ever smaller alignment until one is refused, what O_DIRECT asks for.
 * null: even whole pages are refused. A file too short to tell counts as asking for pages.
 */
export async function tryDirectAlignment(subject: TrialSubject): Promise<DirectAlignment | null> {
  return await withRegion(async (region) => {
    const pages = { memory: PAGE_BYTES, offset: OFFSET_BYTES_MAX };
    if (!(await takesBlock(subject, region, OFFSET_BYTES_MAX))) return null;
    if (isTooShortToTell(subject)) return pages;
    let offset = OFFSET_BYTES_MAX;
    while (offset > OFFSET_BYTES_MIN && (await takesBlock(subject, region, offset / 2))) {
      offset /= 2;
    }
    let memory = PAGE_BYTES;
    if (!(await takesMemory(subject, region, memory, offset))) return null;
    while (memory > MEMORY_BYTES_MIN && (await takesMemory(subject, region, memory / 2, offset))) {
      memory /= 2;
    }
    return { memory, offset };
  });
}

/**
 * The alignment that both ends of a segment need. Linux asks `told.memory` of addresses, but from
 * 6.0 to 6.17 whole blocks of lengths: limits have one field for both, so this looks.
 */
export async function segmentAlignment(
  subject: TrialSubject,
  told: DirectAlignment,
): Promise<number> {
  if (told.memory >= told.offset || subject.sizeBytes === 0) {
    return Math.max(told.memory, told.offset);
  }
  return await withRegion(async (region) => {
    const takes = await takesMemory(subject, region, told.memory, told.offset);
    return takes ? told.memory : told.offset;
  });
}

/** One block at its own multiple. */
function takesBlock(subject: TrialSubject, region: Region, block: number): Promise<boolean> {
  const position = block < subject.sizeBytes ? block : 0;
  const view = new Uint8Array(region.u8.buffer, 0, block);
  return new Promise((done) => {
    subject.fs.read(subject.fd, view, position, (error) => done(!error));
  });
}

/**
 * Two segments whose addresses and lengths are multiples of `memory` and of nothing larger. Two,
 * because the block layer does not look at a short one that stands alone.
 */
function takesMemory(
  subject: TrialSubject,
  region: Region,
  memory: number,
  block: number,
): Promise<boolean> {
  const { buffer } = region.u8;
  const rest = memory < block ? 2 * block - memory : memory;
  const views = [
    new Uint8Array(buffer, memory, memory),
    new Uint8Array(buffer, SECOND_SEGMENT + memory, rest),
  ];
  return new Promise((done) => subject.fs.readv(subject.fd, views, 0, (error) => done(!error)));
}

async function withRegion<T>(body: (region: Region) => Promise<T>): Promise<T> {
  const region = createRegion(REGION_BYTES, REGION_BYTES);
  try {
    return await body(region);
  } finally {
    region[Symbol.dispose]();
  }
}
