import { assert } from '../../base/assert.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { CoherentPages } from '../../dma/coherent-pages.ts';
import type { DmaDevice } from '../../dma/dma-device.ts';
import { DmaList } from '../../dma/dma-list.ts';
import { DmaDir } from '../../dma/dma-status.ts';
import { NvmePointer, NvmePsdt } from '../../dma/nvme-pointer.ts';
import { buildPrp, prpListsFor } from '../../dma/nvme-prp.ts';
import { buildSgl, SGL_LIMITS, sglListsFor } from '../../dma/nvme-sgl.ts';
import { mapRequestSg } from '../../dma/request-sg.ts';
import { SgList, type SgPool } from '../../dma/sg-list.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Request } from '../../queue/request.ts';
import type { ControllerCommand } from './controller.ts';

/** What all commands of a driver share. */
export interface CommandParts {
  readonly limits: Limits;
  readonly device: DmaDevice;
  readonly pages: CoherentPages;
  readonly sgPool: SgPool;
  readonly psdt: NvmePsdt;
}

/**
 * The driver side of one command under way: the scatterlist of the request, its ranges as the
 * device sees them, and the pointer that names them. Pooled; all of it is let go in `unmap`.
 */
export class CommandSlot implements ControllerCommand {
  tag = 0;
  request: Request | null = null;
  isWrite = false;
  start = 0;
  bytes = 0;
  readonly pointer: NvmePointer;
  readonly list: SgList;
  readonly dma: DmaList;
  readonly #parts: CommandParts;

  constructor(parts: CommandParts) {
    const { limits, pages, sgPool } = parts;
    this.#parts = parts;
    this.list = new SgList(sgPool);
    this.dma = new DmaList(limits.max_segments);
    const bytes = limits.max_hw_sectors * SECTOR_BYTES;
    const prp = prpListsFor(bytes, pages.pageBytes);
    const sgl = sglListsFor(limits.max_segments, pages.pageBytes);
    this.pointer = new NvmePointer(pages, Math.max(prp, sgl, 1));
  }

  /**
   * Makes the memory of `request` ready for the device: scatterlist, DMA mapping, pointer. 0;
   * NOT_NOW: a pool is full; else a negative errno. Unless 0, nothing is mapped or taken.
   * Linux: nvme_map_data(), drivers/nvme/host/pci.c.
   */
  map(tag: number, request: Request): number {
    assert(this.request === null, 'controller: a slot is in use');
    const { limits, device } = this.#parts;
    const { list, dma } = this;
    const acquired = list.acquire(request.segments);
    if (acquired < 0) return acquired;
    this.isWrite = request.op === BioOp.WRITE;
    const count = mapRequestSg(request, limits, list);
    const dir = this.isWrite ? DmaDir.TO_DEVICE : DmaDir.FROM_DEVICE;
    const ranges = device.mapSg(list, count, dir, dma);
    const built = ranges < 0 ? ranges : this.#point();
    if (built < 0) {
      if (ranges > 0) device.unmapSg(list, list.nents, dma, false);
      list.release();
      return built;
    }
    this.tag = tag;
    this.request = request;
    this.start = request.sector * SECTOR_BYTES;
    this.bytes = request.bytes;
    return 0;
  }

  /** A short end of the medium: the command says less than the memory that it has. */
  shorten(bytes: number): void {
    assert(bytes > 0 && bytes <= this.bytes, 'controller: a command of nothing');
    this.bytes = bytes;
  }

  /** The device is done: what it wrote, if it may have, is the CPU's again. */
  unmap(): void {
    const { device } = this.#parts;
    this.pointer.release();
    device.unmapSg(this.list, this.list.nents, this.dma, !this.isWrite);
    this.list.release();
    this.request = null;
  }

  #point(): number {
    const { psdt, pages, limits } = this.#parts;
    const bytesMax = limits.max_hw_sectors * SECTOR_BYTES;
    if (psdt === NvmePsdt.SGL) return buildSgl(this.pointer, this.dma, { ...SGL_LIMITS, bytesMax });
    return buildPrp(this.pointer, this.dma, { pageBytes: pages.pageBytes, bytesMax });
  }
}
