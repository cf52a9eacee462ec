import { assert } from '../../src/base/assert.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { segmentBytes } from '../../src/bio/split-point.ts';
import type { DmaDevice } from '../../src/dma/dma-device.ts';
import { DmaList } from '../../src/dma/dma-list.ts';
import { DmaDir } from '../../src/dma/dma-status.ts';
import type { Limits } from '../../src/limits/limits.ts';
import type { CarrierSetup, DeviceRange } from './carrier.ts';

/** More than any segment. */
const ANY_BYTES = Number.MAX_SAFE_INTEGER;

/**
 * The last step of a driver without a scatterlist: memory in, ranges of the device out, joined
 * where they touch and cut at the limits. Linux: blk_rq_dma_map_iter_next().
 */
export class DeviceList {
  readonly out: DmaList;
  readonly #device: DmaDevice;
  readonly #limits: Limits;
  /** The range that may still grow: address, bytes, and most that a segment from there may have. */
  #addr = 0;
  #len = 0;
  #most = 0;

  constructor({ device, limits, pagesMax }: CarrierSetup) {
    this.out = new DmaList(rangesMax(pagesMax, limits));
    this.#device = device;
    this.#limits = limits;
  }

  begin(): void {
    this.#len = 0;
    this.#device.beginPieces(DmaDir.TO_DEVICE, this.out);
  }

  /** Physical memory that is one piece. */
  add(addr: number, len: number): void {
    const total = this.#len + len;
    if (this.#len > 0 && this.#addr + this.#len === addr && total <= this.#most) {
      this.#len = total;
      return;
    }
    if (this.#len > 0) this.#map();
    let left = len;
    let at = addr;
    for (;;) {
      this.#addr = at;
      this.#most = segmentBytes(at, ANY_BYTES, this.#limits);
      this.#len = left < this.#most ? left : this.#most;
      left -= this.#len;
      if (left === 0) return;
      at += this.#len;
      this.#map();
    }
  }

  /** How many ranges. */
  end(): number {
    if (this.#len > 0) this.#map();
    return this.out.count;
  }

  unmap(): void {
    this.#device.unmap(this.out);
  }

  ranges(): DeviceRange[] {
    return rangesOf(this.out);
  }

  #map(): void {
    const page = Math.floor(this.#addr / PAGE_BYTES);
    const offset = this.#addr - page * PAGE_BYTES;
    const result = this.#device.mapPiece(page, offset, this.#len, this.out);
    assert(result === 0, 'device list: a direct mapping of memory in reach failed');
  }
}

export function rangesOf(out: DmaList): DeviceRange[] {
  return Array.from({ length: out.count }, (_, row) => ({
    address: out.address[row],
    bytes: out.len[row],
  }));
}

/** Ranges of a transfer: at most one a segment, and what the limits cut off pages. */
export function rangesMax(
  pagesMax: number,
  { max_segment_size, seg_boundary_mask }: Limits,
): number {
  const least = Math.min(max_segment_size, seg_boundary_mask + 1);
  return 512 + 2 * Math.ceil((pagesMax * PAGE_BYTES) / least);
}
