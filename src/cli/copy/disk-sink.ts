import { BlockError } from '../../base/block-error.ts';
import { MIB } from '../../base/units.ts';
import type { Disk } from '../../device/disk.ts';
import type { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { pagesAreZero, zeroPages } from '../../memory/copy.ts';
import type { CopySink } from './endpoint.ts';

export interface DiskSinkOptions {
  readonly disk: Disk;
  /** For zeros where the device has no command for them. */
  readonly arena: Arena;
  /** Give zeros of a device back to it, if it then reads as zeros. */
  readonly discards: boolean;
  /** All of it is zeros already, and takes no space. Default: of a file that grows. */
  readonly isEmpty?: boolean | undefined;
}

const SCRATCH_BYTES = MIB;

/**
 * A file that was just emptied, or a device. In the file every range that is never written is a
 * hole already; on a device zeros are work.
 */
export class DiskSink implements CopySink {
  readonly disk: Disk;
  readonly size: number | null;
  readonly #arena: Arena;
  readonly #isFile: boolean;
  readonly #isEmpty: boolean;
  #discards: boolean;
  #zeros: ArenaBuffer | null = null;

  constructor(options: DiskSinkOptions) {
    const { disk } = options;
    this.disk = disk;
    this.#arena = options.arena;
    this.#isFile = !disk.device.engine.info.fixedSize;
    this.#isEmpty = options.isEmpty ?? this.#isFile;
    this.size = this.#isFile ? null : disk.size;
    this.#discards = options.discards && disk.limits.max_discard_sectors > 0;
  }

  get name(): string {
    return this.disk.target;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const { bytesWritten } = await this.disk.write(bytes, { position });
    if (bytesWritten === bytes.length) return;
    throw new BlockError('ENOSPC', {
      reason: `the destination ends at byte ${position + bytesWritten}, there is more to write`,
      device: this.name,
      offset: position,
      length: bytes.length,
    });
  }

  async zero(position: number, bytes: number): Promise<void> {
    if (this.#isEmpty) return;
    const block = this.disk.limits.logical_block_size;
    const whole = bytes - (bytes % block);
    if (whole > 0) await this.#zeroBlocks(position, whole);
    if (whole < bytes) await this.#writeZeros(position + whole, bytes - whole);
  }

  async finish(size: number): Promise<void> {
    if (this.#isFile && this.disk.size !== size) await this.disk.truncate(size);
  }

  flush(): Promise<void> {
    return this.disk.flush();
  }

  abandon(): void {}

  async close(): Promise<void> {
    this.#zeros?.release();
    this.#zeros = null;
    await this.disk.close();
  }

  async #zeroBlocks(position: number, bytes: number): Promise<void> {
    if (this.#discards) {
      await this.disk.discard(position, bytes);
      if (await this.#isZero(position, bytes)) return;
      this.#discards = false; // This device promises nothing about what it discarded.
    }
    if (this.disk.limits.max_write_zeroes_sectors > 0) {
      await this.disk.writeZeroes(position, bytes);
    } else {
      await this.#writeZeros(position, bytes);
    }
  }

  async #isZero(position: number, bytes: number): Promise<boolean> {
    using buffer = this.#arena.alloc(Math.min(bytes, SCRATCH_BYTES), 'discard check');
    for (let at = 0; at < bytes; at += buffer.length) {
      const length = Math.min(buffer.length, bytes - at);
      const { bytesRead } = await this.disk.read(buffer.bytes, { position: position + at, length });
      if (bytesRead < length || !pagesAreZero(buffer.page, 0, length)) return false;
    }
    return true;
  }

  async #writeZeros(position: number, bytes: number): Promise<void> {
    if (this.#zeros === null) {
      this.#zeros = this.#arena.alloc(SCRATCH_BYTES, 'zeros');
      zeroPages(this.#zeros.page, 0, SCRATCH_BYTES);
    }
    for (let at = 0; at < bytes; at += SCRATCH_BYTES) {
      const take = Math.min(SCRATCH_BYTES, bytes - at);
      await this.write(this.#zeros.bytes.subarray(0, take), position + at);
    }
  }
}
