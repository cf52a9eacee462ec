import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { type Probe, ProbePoint } from '../../base/probe.ts';
import { slotOf } from '../../base/slots.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp, opHasData, opIsWrite } from '../../bio/bio-op.ts';
import { CoherentPages } from '../../dma/coherent-pages.ts';
import type { DmaDevice } from '../../dma/dma-device.ts';
import { NOT_NOW } from '../../dma/dma-status.ts';
import { NvmePsdt, NvmeStatus } from '../../dma/nvme-pointer.ts';
import { SG_CHUNK_ENTRIES, SgPool, sgChunksFor } from '../../dma/sg-list.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { fromEffective } from '../../limits/validate.ts';
import type { Arena } from '../../memory/arena.ts';
import type { Request } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine, EngineInfo } from '../contract.ts';
import { CompletionRing, type Defer } from '../memory/completion-ring.ts';
import { rangeStatus, requireWholeBlocks } from '../memory/medium.ts';
import { RamStore } from '../memory/ram-store.ts';
import { type CommandParts, CommandSlot } from './command-slot.ts';
import { Controller } from './controller.ts';

export interface ControllerEngineOptions {
  /** A multiple of the logical block, at least one. */
  readonly sizeBytes: number;
  /** How the controller reaches memory: directly, through an IOMMU, with bounce buffers. */
  readonly device: DmaDevice;
  /** Pages for the lists of pointers; the device must reach them. */
  readonly arena: Arena;
  /** Over those of a small NVMe disk: 128 KiB (MDTS 5), 33 segments, boundary 4 KiB. */
  readonly limits?: LimitsInput;
  /** How commands name memory. Default PRP. */
  readonly psdt?: NvmePsdt;
  /** Commands under way at once. Default 64. */
  readonly depth?: number;
  readonly defer: Defer;
  /** Sees each command when the controller is about to execute it: for tests that break it. */
  readonly onCommand?: (command: CommandSlot) => void;
}

/** What a controller with a 4 KiB page and MDTS 5 takes. */
const CONTROLLER_LIMITS: LimitsInput = {
  max_hw_sectors: 256,
  max_segments: 33,
  max_segment_size: 65536,
  virt_boundary_mask: 4095,
  dma_alignment: 3,
  max_hw_discard_sectors: 2 ** 32 - 1,
  max_write_zeroes_sectors: 2 ** 32 - 1,
};

/** A simulated disk behind DMA: driver, IOMMU or bounce buffers, controller, medium. */
export class ControllerEngine implements Engine {
  readonly info: EngineInfo;
  /** Hears of the three `COMMAND_` points. */
  probe: Probe | null = null;
  readonly #limits: Limits;
  readonly #device: DmaDevice;
  readonly #store: RamStore;
  readonly #controller: Controller;
  readonly #pages: CoherentPages;
  readonly #sgPool: SgPool;
  readonly #ring: CompletionRing;
  readonly #defer: Defer;
  readonly #onCommand: ((command: CommandSlot) => void) | null;
  readonly #free: CommandSlot[] = [];
  /** Commands that the controller has, oldest first. */
  readonly #started: CommandSlot[] = [];
  #table: RequestTable | null = null;
  #isTicking = false;
  #isClosed = false;

  /** Throws BlockError EINVAL for a bad size, ENOMEM or EIO when there is no room for the lists. */
  constructor(options: ControllerEngineOptions) {
    const { sizeBytes, device, arena, depth = 64, psdt = NvmePsdt.PRP, defer } = options;
    const limits = fromEffective({ ...CONTROLLER_LIMITS, ...options.limits });
    const target = `controller:${sizeBytes}`;
    requireWholeBlocks(sizeBytes, limits, target);
    this.#limits = limits;
    this.#device = device;
    this.#defer = defer;
    this.#onCommand = options.onCommand ?? null;
    this.#pages = new CoherentPages(device, arena, depth * listsPerCommand(limits));
    this.#store = new RamStore(sizeBytes, target);
    this.#controller = new Controller(device, this.#store, this.#pages.pageBytes);
    this.#ring = new CompletionRing(depth, defer);
    const chunks = depth * sgChunksFor(limits.max_segments, SG_CHUNK_ENTRIES);
    this.#sgPool = new SgPool({ chunks });
    const pages = this.#pages;
    const parts: CommandParts = { limits, device, pages, sgPool: this.#sgPool, psdt };
    for (let i = 0; i < depth; i++) this.#free.push(new CommandSlot(parts));
    this.info = {
      kind: 'controller',
      target,
      depth,
      limits,
      byteGranular: false,
      integrity: null,
      fixedSize: true,
      facts: { volatile: true, iommu: device.iommu !== null, bounce: device.swiotlb !== null },
    };
  }

  sizeBytes(): number {
    return this.#store.sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'controller: attached twice');
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'controller: submit before attach');
    if (this.#isClosed) return -Errno.ENODEV;
    let accepted = 0;
    while (accepted < count && this.#inFlight < this.info.depth) {
      const tag = tags[first + accepted];
      if (!this.#accept(tag, table.get(tag))) break;
      accepted++;
    }
    if (this.#started.length > 0) this.#tickLater();
    this.#ring.notify();
    return accepted;
  }

  get #inFlight(): number {
    return this.#started.length + this.#ring.count;
  }

  /** False: not now, a completion will make room. */
  #accept(tag: number, request: Request): boolean {
    const sizeBytes = this.#store.sizeBytes;
    const room = sizeBytes - request.sector * SECTOR_BYTES;
    const refused = opIsWrite(request.op) ? rangeStatus(request, sizeBytes, this.#limits) : 0;
    if (refused !== 0 || !opHasData(request.op)) {
      this.#complete(tag, refused, refused === 0 ? this.#runWithoutData(request) : 0);
      return true;
    }
    if (room <= 0) {
      this.#complete(tag, 0, 0);
      return true;
    }
    const slot = this.#free.pop();
    assert(slot !== undefined, 'controller: fewer slots than its depth');
    const result = slot.map(tag, request);
    if (this.probe !== null) this.#probeMap(slot, request, result);
    if (result === 0) {
      if (room < slot.bytes) slot.shorten(room);
      this.#started.push(slot);
      return true;
    }
    this.#free.push(slot);
    // With nothing under way there is no completion to wait for.
    if (result === NOT_NOW && this.#inFlight > 0) return false;
    this.#complete(tag, result === NOT_NOW ? -Errno.ENOMEM : result, 0);
    return true;
  }

  /** Bytes done: ranges need no memory. */
  #runWithoutData(request: Request): number {
    if (request.op === BioOp.FLUSH) return 0;
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const start = bio.sector * SECTOR_BYTES;
      this.#store.zero(start, start + bio.size);
    }
    return request.bytes;
  }

  reap(tags: Uint32Array, max: number): number {
    if (this.#ring.count === 0) this.#executeAll();
    return this.#ring.drain(tags, max);
  }

  /** Everything that was accepted ends by itself. */
  cancel(tag: number): number {
    return this.#started.some((slot) => slot.tag === tag) ? 0 : this.#ring.find(tag);
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
    if (this.#started.length > 0) this.#tickLater();
  }

  #tickLater(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#defer(this.#tick);
  }

  readonly #tick = (): void => {
    this.#isTicking = false;
    this.#executeAll();
    this.#ring.notify();
  };

  /** The controller works through its queue. */
  #executeAll(): void {
    for (const slot of this.#started) {
      this.#onCommand?.(slot);
      const status = this.#controller.execute(slot);
      const { tag } = slot;
      if (this.probe !== null) this.#probeUnmap(slot, status);
      slot.unmap();
      this.#free.push(slot);
      const isDone = status === NvmeStatus.SUCCESS;
      this.#complete(tag, isDone ? 0 : -Errno.EIO, isDone ? this.#controller.bytesDone : 0);
    }
    this.#started.length = 0;
  }

  #probeMap(slot: CommandSlot, request: Request, result: number): void {
    const { probe } = this;
    const { traceId, bytes } = request;
    const { list, dma } = slot;
    if (result === 0) {
      probe?.hit(ProbePoint.COMMAND_MAP, traceId, slot, list.nents, dma.count, dma.bounces);
    } else {
      const device = this.#device;
      probe?.hit(ProbePoint.COMMAND_REFUSE, traceId, device, result, device.reason, bytes);
    }
  }

  #probeUnmap(slot: CommandSlot, status: NvmeStatus): void {
    const { request, dma } = slot;
    const { bytesDone } = this.#controller;
    const traceId = request === null ? 0 : request.traceId;
    this.probe?.hit(ProbePoint.COMMAND_UNMAP, traceId, slot, status, bytesDone, dma.bounces);
  }

  #complete(tag: number, status: number, bytesDone: number): void {
    const table = this.#table as RequestTable;
    table.status[slotOf(tag)] = status;
    table.bytesDone[slotOf(tag)] = bytesDone;
    this.#ring.push(tag);
  }

  async close(): Promise<void> {
    assert(this.#inFlight === 0, 'controller: closed with requests in flight');
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pages[Symbol.dispose]();
    this.#store[Symbol.dispose]();
    assert(this.#sgPool.busyCount === 0, 'controller: scatterlists are left');
    this.#device.assertNothingOutstanding();
  }
}

/** List pages that the largest command may need. */
function listsPerCommand(limits: Limits): number {
  const entries = Math.ceil((limits.max_hw_sectors * SECTOR_BYTES) / PAGE_BYTES) + 1;
  const descriptors = limits.max_segments * 2;
  return Math.ceil(Math.max(entries, descriptors) / 255) + 1;
}
