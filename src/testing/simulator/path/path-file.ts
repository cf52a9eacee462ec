import { AssertionError } from '../../../base/assert.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../../base/units.ts';
import { CacheTag } from '../../../cache/cache-index.ts';
import { ExtentFile } from '../../../cache/extent-file.ts';
import { ExtentRun, ExtentState } from '../../../cache/extent-map.ts';
import { HOLE } from '../../../iter/page-source.ts';
import { isDirty } from '../../../memory/holds.ts';
import { byteAt, regionOf } from '../../../memory/region.unsafe.ts';
import type { UserMemory } from '../../../memory/user/user-memory.ts';
import type { Model } from './model.ts';
import { ModelObject, ZEROS } from './model-object.ts';
import type { PathDisk } from './path-disk.ts';
import { touches } from './path-op.ts';

/** Largest file: 48 pages. */
export const FILE_BYTES_MAX = 48 * PAGE_BYTES;

const run = new ExtentRun();

/** A file of extents or a raw range of a disk: the real one, and what must be in it. */
export class PathFile {
  readonly name: string;
  readonly disk: PathDisk;
  /** Null: a raw range, which ends where the disk ends. */
  readonly file: ExtentFile | null;
  readonly object: ModelObject;
  /** What `actual` found. */
  u8: Uint8Array = ZEROS;
  at = 0;

  private constructor(name: string, disk: PathDisk, file: ExtentFile | null, bytes: number) {
    this.name = name;
    this.disk = disk;
    this.file = file;
    this.object = new ModelObject(name, bytes, true);
  }

  static ofExtents(
    name: string,
    disk: PathDisk,
    memory: UserMemory,
    defer: (run: () => void) => void,
  ): PathFile {
    const { device, blocks } = disk;
    const file = new ExtentFile({ name, device, memory, blocks, defer });
    return new PathFile(name, disk, file, FILE_BYTES_MAX);
  }

  static ofDisk(name: string, disk: PathDisk): PathFile {
    return new PathFile(name, disk, null, disk.engine.medium.sizeBytes - disk.rawStart);
  }

  /** Byte of the device that byte 0 is: files are placed by their extents. */
  get base(): number {
    return this.file === null ? this.disk.rawStart : 0;
  }

  get size(): number {
    return this.file === null ? this.object.bytes.length : this.file.size;
  }

  /** Direct writes so far that could not drop a page of the cache behind them. */
  get stalePages(): number {
    return this.file === null ? 0 : this.file.counters.staleAfterDirect;
  }

  /** Finds the bytes of the page at `at` as a reader would get them, in `u8` and `at`. */
  actual(at: number): void {
    const index = Math.floor(at / PAGE_BYTES);
    const inPage = at % PAGE_BYTES;
    if (this.file !== null) {
      const { cache } = this.file;
      const page = cache.pageAt(index);
      if (page !== HOLE && cache.hasTag(index, CacheTag.UPTODATE)) {
        this.u8 = regionOf(page).u8;
        this.at = byteAt(page, inPage);
        return;
      }
    }
    this.onDisk(at);
  }

  /** The same, past the page cache. */
  onDisk(at: number): void {
    let start = this.disk.rawStart + at;
    if (this.file !== null) {
      const index = Math.floor(at / PAGE_BYTES);
      this.file.extents.lookup(index, run);
      if (run.state !== ExtentState.MAPPED) {
        this.u8 = ZEROS;
        this.at = 0;
        return;
      }
      start = (run.device + index - run.start) * PAGE_BYTES + (at % PAGE_BYTES);
    }
    const { medium } = this.disk.engine;
    this.u8 = medium.chunkAt(start);
    this.at = medium.inChunk(start);
  }

  /** The disk spoiled bytes of the device: those of this file are doubtful from now on. */
  spoiled(start: number, bytes: number, nowNs: number): void {
    const first = Math.floor(start / SECTOR_BYTES) * SECTOR_BYTES;
    for (let at = first; at < start + bytes; at += SECTOR_BYTES) {
      const mine = this.#placeOf(at);
      if (mine >= 0 && mine < this.object.bytes.length) {
        this.object.spoil(mine, nowNs);
      }
    }
  }

  /** Byte of the file at byte `at` of the device, or -1. */
  #placeOf(at: number): number {
    if (this.file === null) return at - this.disk.rawStart;
    const block = Math.floor(at / PAGE_BYTES);
    for (let index = 0; index * PAGE_BYTES < FILE_BYTES_MAX; ) {
      this.file.extents.lookup(index, run);
      const device = run.device + index - run.start;
      const count = run.end - index;
      if (run.state !== ExtentState.HOLE && block >= device && block < device + count) {
        return (index + block - device) * PAGE_BYTES + (at % PAGE_BYTES);
      }
      index = run.end;
    }
    return -1;
  }

  /** Nothing is dirty, nothing in flight writes to it: the disk has the bytes of the model. */
  checkDisk(model: Model, when: string): void {
    const { object, size } = this;
    for (let at = 0; at < size; at += PAGE_BYTES) {
      const bytes = Math.min(PAGE_BYTES, size - at);
      if (model.inFlight.some((op) => touches(op.targets, object, at, bytes))) continue;
      if (this.#isDirty(at)) continue;
      this.onDisk(at);
      model.observe(object, at, bytes, this.u8, this.at, `on the disk ${when}`);
    }
  }

  /** In the cache and not on the disk yet, as far as anybody knows. */
  #isDirty(at: number): boolean {
    const cache = this.file?.cache;
    const page = cache?.pageAt(Math.floor(at / PAGE_BYTES)) ?? HOLE;
    return page !== HOLE && isDirty(page);
  }

  fail(what: string): never {
    throw new AssertionError(`sim: ${this.name}: ${what}`);
  }
}
