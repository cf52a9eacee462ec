import { AssertionError, assert } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { slotOf } from '../../../base/slots.ts';
import { KIB, MIB, PAGE_BYTES, SECTOR_BYTES } from '../../../base/units.ts';
import { BioPool } from '../../../bio/bio-pool.ts';
import { CoherentPages } from '../../../dma/coherent-pages.ts';
import { DmaDevice } from '../../../dma/dma-device.ts';
import { NOT_NOW } from '../../../dma/dma-status.ts';
import { Iommu } from '../../../dma/iommu.ts';
import { NvmePsdt, NvmeStatus } from '../../../dma/nvme-pointer.ts';
import { SG_CHUNK_ENTRIES, SgPool, sgChunksFor } from '../../../dma/sg-list.ts';
import { CommandSlot } from '../../../engine/controller/command-slot.ts';
import { Controller } from '../../../engine/controller/controller.ts';
import { validateLimits } from '../../../limits/validate.ts';
import { OpenFileReserve } from '../../../map/passthrough/open-file-reserve.ts';
import { PassthroughContext } from '../../../map/passthrough/passthrough-context.ts';
import { Arena } from '../../../memory/arena.ts';
import { RequestTable } from '../../../queue/request-table.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { SimClock } from '../sim-clock.ts';
import { SimMedium } from '../sim-medium.ts';
import type { Model } from './model.ts';
import { ModelObject, ZEROS } from './model-object.ts';
import { touches } from './path-op.ts';

/** 48 KiB are the largest command: the smallest space has room for one, and for the lists. */
const DISK_BYTES = 96 * KIB;
const SECTORS_MAX = 96;
const RESERVE_BYTES = 2 * PAGE_BYTES;
/** List pages of one command: two for 48 KiB, whatever names them. */
const LISTS = 2;

/** Pages for lists, of whichever world runs: an arena reserves gigabytes of address space. */
let listArena: Arena | null = null;

export interface PassthroughDiskOptions {
  readonly arena: Arena;
  readonly clock: SimClock;
  readonly random: SeededRandom;
  readonly hasErrors: boolean;
}

/**
 * A disk that takes commands of programs past the queue, and reaches their memory as hardware
 * does: through pointers, ranges and an IOMMU. Commands take their time and overtake each other.
 */
export class PassthroughDisk {
  readonly context: PassthroughContext;
  readonly reserve: OpenFileReserve;
  readonly table: RequestTable;
  /** Of the data, and of the metadata beside it. */
  readonly object = new ModelObject('controller', DISK_BYTES, true);
  readonly metaObject: ModelObject;
  readonly metaMedium: Uint8Array;
  /** Bytes of metadata for a sector. */
  readonly metaBytes: number;
  /** What `find` found. */
  u8: Uint8Array = ZEROS;
  at = 0;
  /** The command moves its bytes now; those of its metadata are the caller's to move. */
  onMove: (tag: number) => void = () => {};
  /** It has ended, with its result in `table`. */
  onEnd: (tag: number) => void = () => {};
  readonly #options: PassthroughDiskOptions;
  readonly #medium = new SimMedium(DISK_BYTES);
  readonly #device: DmaDevice;
  readonly #pages: CoherentPages;
  readonly #sgPool: SgPool;
  readonly #controller: Controller;
  readonly #free: CommandSlot[] = [];
  /** By slot of the table. */
  readonly #slots: (CommandSlot | null)[] = [];

  constructor(options: PassthroughDiskOptions) {
    const { arena, random } = options;
    this.#options = options;
    const psdt = random.pick([NvmePsdt.PRP, NvmePsdt.SGL]);
    const limits = validateLimits({
      max_hw_sectors: random.pick([16, SECTORS_MAX]),
      max_segments: random.pick([2, 5, 33]),
      max_segment_size: random.pick([4096, 65536]),
      virt_boundary_mask: psdt === NvmePsdt.PRP ? 4095 : random.pick([0, 4095]),
      dma_alignment: random.pick([3, 3, 511]),
      max_integrity_segments: random.pick([0, 1, 1, 2]),
    });
    const depth = random.pick([1, 2, 4]);
    this.metaBytes = random.pick([8, 64, 128]);
    const metaSize = (DISK_BYTES / SECTOR_BYTES) * this.metaBytes;
    this.metaObject = new ModelObject('metadata', metaSize, true);
    this.metaMedium = new Uint8Array(this.metaObject.bytes.length);
    const spaceBytes = random.pick([128 * KIB, MIB]);
    this.#device = new DmaDevice(random.chance(0.8) ? { iommu: new Iommu({ spaceBytes }) } : {});
    listArena ??= new Arena({ label: 'lists', maxBytes: MIB, places: false });
    this.#pages = new CoherentPages(this.#device, listArena, depth * LISTS);
    this.#controller = new Controller(this.#device, this.#medium, this.#pages.pageBytes);
    this.#sgPool = new SgPool({ chunks: depth * sgChunksFor(33, SG_CHUNK_ENTRIES) });
    const pages = this.#pages;
    const parts = { limits, device: this.#device, pages, sgPool: this.#sgPool, psdt };
    for (let i = 0; i < depth; i++) this.#free.push(new CommandSlot(parts));
    this.table = new RequestTable(depth);
    for (let i = 0; i < depth; i++) this.#slots.push(null);
    const bios = new BioPool({ bios: random.pick([0, 4]), rows: 256 });
    this.context = new PassthroughContext({ limits, folios: arena, bios });
    this.reserve = new OpenFileReserve(arena, RESERVE_BYTES, 2);
  }

  /** As of `Engine`: 1, or 0 when there is no room now. */
  submit(tags: Uint32Array, first: number, _count: number): number {
    const { clock, random, hasErrors } = this.#options;
    const tag = tags[first];
    const slot = this.#free.pop();
    assert(slot !== undefined, 'sim: more commands than tags');
    const result = slot.map(tag, this.table.get(tag));
    const isAlone = this.#free.length + 1 === this.table.depth;
    if (result === NOT_NOW && !isAlone) {
      this.#free.push(slot);
      return 0;
    }
    if (result !== 0) throw new AssertionError(`sim: a command cannot be mapped: ${result}`);
    this.#slots[slotOf(tag)] = slot;
    // A failure before or after the bytes have moved.
    const isFailed = hasErrors && random.chance(0.06);
    this.table.status[slotOf(tag)] = isFailed ? -Errno.EIO : 0;
    const moves = !isFailed || random.chance(0.5);
    clock.schedule(random.between(1_000, 60_000), moves ? this.#move : this.#finish, tag);
    return 1;
  }

  readonly #move = (tag: number): void => {
    const { clock, random } = this.#options;
    const slot = this.#slots[slotOf(tag)] as CommandSlot;
    const status = this.#controller.execute(slot);
    const { bytesDone, faultAddress } = this.#controller;
    if (status !== NvmeStatus.SUCCESS || bytesDone !== slot.bytes) {
      const where = faultAddress.toString(16);
      throw new AssertionError(`sim: a command moved ${bytesDone} of ${slot.bytes}, 0x${where}`);
    }
    this.onMove(tag);
    clock.schedule(random.between(0, 30_000), this.#finish, tag);
  };

  readonly #finish = (tag: number): void => {
    const at = slotOf(tag);
    const slot = this.#slots[at] as CommandSlot;
    this.table.bytesDone[at] = this.table.status[at] === 0 ? slot.bytes : 0;
    slot.unmap();
    this.#slots[at] = null;
    this.#free.push(slot);
    this.onEnd(tag);
  };

  /** Finds byte `at` of data or metadata, in `u8` and `at`. False: the object is another's. */
  find(object: ModelObject, at: number): boolean {
    if (object === this.object) {
      this.u8 = this.#medium.chunkAt(at);
      this.at = this.#medium.inChunk(at);
    } else if (object === this.metaObject) {
      this.u8 = this.metaMedium;
      this.at = at;
    } else return false;
    return true;
  }

  /** Everything that nothing in flight writes to is as the model has it. */
  check(model: Model): void {
    for (const object of [this.object, this.metaObject]) {
      for (let at = 0; at < object.bytes.length; at += PAGE_BYTES) {
        if (model.inFlight.some((op) => touches(op.targets, object, at, PAGE_BYTES))) continue;
        this.find(object, at);
        model.observe(object, at, PAGE_BYTES, this.u8, this.at, 'behind the controller');
      }
    }
  }

  /** Throws when something is still held. */
  close(): void {
    assert(this.table.busyCount === 0, 'sim: a passthrough command is left');
    this.context.assertNothingOutstanding();
    this.reserve[Symbol.dispose]();
    this.#pages[Symbol.dispose]();
    assert(this.#sgPool.busyCount === 0, 'sim: a scatterlist is left');
    this.#device.assertNothingOutstanding();
  }

  /** After a failure: its list pages stay where they are, and nobody uses their arena again. */
  abandon(): void {
    if (listArena === null) return;
    listArena.region.pinnedPages = 0;
    listArena[Symbol.dispose]();
    listArena = null;
  }
}
