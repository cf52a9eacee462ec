import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Limits } from '../limits/limits.ts';
import type { Request } from '../queue/request.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaForm, type DmaList } from './dma-list.ts';
import { DmaDir } from './dma-status.ts';
import { SegmentWalk, type SpecialPayload } from './segment-walk.ts';

/** A read of the disk writes memory; everything else that has data reads it. */
export function dirOfRequest(request: Request): DmaDir {
  return request.op === BioOp.READ ? DmaDir.FROM_DEVICE : DmaDir.TO_DEVICE;
}

/**
 * Maps a request without a scatterlist: the device ranges come one by one and are appended to the
 * list of the driver.
 *
 *   for (let more = iter.start(…); more; more = iter.next()) use(iter.addr, iter.len);
 *   if (iter.status < 0) …
 *
 * Where all joints of the memory lie at granules of the IOMMU, one IOVA range is the whole request
 * (form RANGE; segment limits of the device do not apply to it, the driver cuts it as it needs).
 * Else each piece has a mapping of its own (form PIECES).
 *
 * False with status 0: no more data. False with an error: `start` left nothing mapped; `next` left
 * the pieces before, and the driver unmaps `out`.
 * Linux: blk_rq_dma_map_iter_start(), blk_rq_dma_map_iter_next(), block/blk-mq-dma.c.
 */
export class DmaIter {
  /** Bus address, bytes. */
  addr = 0;
  len = 0;
  /** 0 or a negative errno; the device says why. */
  status = 0;
  readonly #walk = new SegmentWalk();
  #device: DmaDevice | null = null;
  #out: DmaList | null = null;
  /** Filled by `#look`: first byte, bytes, and every joint ORed together. */
  #first = 0;
  #bytes = 0;
  #edges = 0;

  start(
    device: DmaDevice,
    request: Request,
    limits: Limits,
    out: DmaList,
    special: SpecialPayload | null = null,
  ): boolean {
    assert(!out.isMapped, 'dma iter: the list is mapped');
    this.#device = device;
    this.#out = null;
    this.status = 0;
    const dir = dirOfRequest(request);
    const fits = this.#fitsOneRange(device, request, limits, special);
    this.#walk.startRequest(request, limits, 'entries', special);
    if (fits && device.beginRange(this.#first, this.#bytes, dir, out)) {
      return this.#linkAll(device, out);
    }
    device.beginPieces(dir, out);
    this.#out = out;
    if (this.next()) return true;
    device.unmap(out, false); // An error, or a request without data.
    this.#out = null;
    return false;
  }

  next(): boolean {
    const out = this.#out;
    if (out === null || this.status < 0 || !this.#walk.next()) return false;
    const device = this.#device as DmaDevice;
    const { addr, len } = this.#walk;
    const page = Math.floor(addr / PAGE_BYTES);
    const row = out.count;
    this.status = device.mapPiece(page, addr - page * PAGE_BYTES, len, out);
    if (this.status < 0) return false;
    this.addr = out.address[row];
    this.len = out.len[row];
    return true;
  }

  /** The whole request as one range; nothing is left of it after an error. */
  #linkAll(device: DmaDevice, out: DmaList): boolean {
    const walk = this.#walk;
    while (walk.next()) {
      this.status = device.linkRange(walk.addr, walk.len, out);
      if (this.status < 0) {
        device.dropRange(out);
        return false;
      }
    }
    assert(out.len[0] === this.#bytes, 'dma iter: linked less than the request');
    device.finishRange(out);
    this.addr = out.address[0];
    this.len = out.len[0];
    return true;
  }

  /**
   * True when all joints lie at granules. Without an IOMMU nobody asks: the walk that would tell is
   * half of what a direct mapping costs.
   */
  #fitsOneRange(
    device: DmaDevice,
    request: Request,
    limits: Limits,
    special: SpecialPayload | null,
  ): boolean {
    if (device.iommu === null) return false;
    this.#look(request, limits, special);
    return this.#bytes > 0 && (this.#edges & (device.iommu.granuleBytes - 1)) === 0;
  }

  /** Linux keeps the joints in the request as it grows (phys_gap_bit); here one walk finds them. */
  #look(request: Request, limits: Limits, special: SpecialPayload | null): void {
    const walk = this.#walk;
    let end = 0;
    this.#bytes = 0;
    this.#edges = 0;
    walk.startRequest(request, limits, 'entries', special);
    while (walk.next()) {
      if (this.#bytes === 0) this.#first = walk.addr;
      else this.#edges |= walk.addr | end;
      end = walk.addr + walk.len;
      this.#bytes += walk.len;
    }
  }
}

/**
 * The whole request at once: rows of `out`, 0 for one without data, or a negative errno and then
 * nothing is mapped. Unmap with `device.unmap(out)`.
 */
export function mapRequest(
  iter: DmaIter,
  device: DmaDevice,
  request: Request,
  limits: Limits,
  out: DmaList,
): number {
  let more = iter.start(device, request, limits, out);
  while (more) more = iter.next();
  if (iter.status === 0) return out.count;
  if (out.form !== DmaForm.NONE) device.unmap(out, false);
  return iter.status;
}
