import {
  IORING_REGISTER_BUFFERS_UPDATE,
  IORING_REGISTER_BUFFERS2,
  IORING_RSRC_REGISTER_SPARSE,
  IORING_UNREGISTER_BUFFERS,
  SIZEOF_io_uring_rsrc_register,
  SIZEOF_io_uring_rsrc_update2,
} from '../../abi/io-uring.ts';
import { assert } from '../../base/assert.ts';
import { MIB, PAGE_BYTES } from '../../base/units.ts';
import {
  frameOf,
  REGION_BYTES_MAX,
  REGION_SHIFT,
  type Region,
  regionOf,
} from '../../memory/region.unsafe.ts';
import type { Ring } from './ring.ts';

// What is registered is chunks of a region: 4 MiB at a multiple of 4 MiB, as large as the largest
// folio, so that one folio never lies in two. A region grows in place; the chunk at its end is
// registered as far as it is present, and anew when it has grown.
//
// Row = one buffer of the ring's table.   unit    invariant
//   #end      Float64   bytes   of its region, up to which it is registered; 0 = free
//   #region   Int32     index   of its region
//   #chunk    Int32     index   in its region

const CHUNK_BYTES = 4 * MIB;
const CHUNK_SHIFT = 22;
const CHUNKS = REGION_BYTES_MAX / CHUNK_BYTES;
/** Rows of the table: 1 GiB of registered memory at most. */
const BUFFERS_MAX = 256;
/** Registering pins 1024 pages; memory that is used once or twice is not worth it. */
const HOT_USES = 8;
const TWO_32 = 2 ** 32;

/** A region as the ring knows it. */
interface KnownRegion {
  readonly region: Region;
  readonly base: number;
  /** By chunk: its buffer + 1, or 0. */
  readonly buffers: Uint16Array;
  /** By chunk: transfers that would have used it. */
  readonly uses: Uint8Array;
}

/** Where arena pages lie for the kernel, and which of them are registered with one ring. */
export class RingMemory {
  readonly #ring: Ring;
  readonly #budgetBytes: number;
  readonly #known: (KnownRegion | null)[] = [];
  readonly #end = new Float64Array(BUFFERS_MAX);
  readonly #region = new Int32Array(BUFFERS_MAX);
  readonly #chunk = new Int32Array(BUFFERS_MAX);
  readonly #update = new Uint32Array(new SharedArrayBuffer(SIZEOF_io_uring_rsrc_update2));
  readonly #iovec = new Uint32Array(new SharedArrayBuffer(16));
  readonly #updateAddress: number;
  readonly #hasTable: boolean;
  /** Region × CHUNKS + chunk, of chunks that came into use. */
  readonly #hot: number[] = [];
  #registeredBytes = 0;
  #refusals = 0;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#budgetBytes = ring.door.lockedBytesMax;
    this.#updateAddress = ring.addressOf(this.#update);
    this.#hasTable = this.#budgetBytes > 0 && this.#makeTable();
  }

  get registeredBytes(): number {
    return this.#registeredBytes;
  }

  /** How often the kernel or the budget refused a chunk. */
  get refusals(): number {
    return this.#refusals;
  }

  get canRegister(): boolean {
    return this.#hasTable;
  }

  /** A chunk is in such use that `registerHot` is worth a call. */
  get hasHot(): boolean {
    return this.#hot.length > 0;
  }

  /** The true address of (page, offset). */
  addressAt(page: number, offset: number): number {
    return this.#knownRegion(page).base + frameOf(page) * PAGE_BYTES + offset;
  }

  /** The registered buffer that holds [offset, offset + bytes) behind `page`, or -1. */
  bufferAt(page: number, offset: number, bytes: number): number {
    if (!this.#hasTable) return -1;
    const known = this.#knownRegion(page);
    const start = frameOf(page) * PAGE_BYTES + offset;
    const end = start + bytes;
    const chunk = start >>> CHUNK_SHIFT;
    if ((end - 1) >>> CHUNK_SHIFT !== chunk) return -1;
    const buffer = known.buffers[chunk] - 1;
    if (buffer >= 0 && end <= this.#end[buffer]) return buffer;
    const uses = known.uses[chunk];
    if (uses < HOT_USES) {
      known.uses[chunk] = uses + 1;
      if (uses + 1 === HOT_USES) this.#hot.push(known.region.index * CHUNKS + chunk);
    }
    return -1;
  }

  /** Registers one hot chunk. Between transfers: it takes up to a millisecond. */
  registerHot(): void {
    const key = this.#hot.pop();
    if (key === undefined) return;
    const chunk = key % CHUNKS;
    const known = this.#known[Math.floor(key / CHUNKS)];
    if (known === null || known === undefined) return; // Its region went in the meantime.
    const start = chunk * CHUNK_BYTES;
    const presentEnd = Math.min(known.region.u8.length, start + CHUNK_BYTES);
    const old = known.buffers[chunk] - 1;
    const oldBytes = old < 0 ? 0 : this.#end[old] - start;
    const buffer = old < 0 ? this.#freeBuffer() : old;
    const added = presentEnd - start - oldBytes;
    if (added <= 0) return;
    const isRefused = buffer < 0 || this.#registeredBytes + added > this.#budgetBytes;
    if (isRefused || !this.#setBuffer(buffer, known.base + start, presentEnd - start)) {
      this.#refusals++;
      return;
    }
    known.buffers[chunk] = buffer + 1;
    known.uses[chunk] = 0;
    this.#end[buffer] = presentEnd;
    this.#region[buffer] = known.region.index;
    this.#chunk[buffer] = chunk;
    this.#registeredBytes += added;
  }

  /** Unpins everything. Pre: nothing in flight. */
  release(): void {
    for (const known of this.#known) known?.region.watchers.delete(this.#gone);
    this.#known.length = 0;
    if (!this.#hasTable) return;
    this.#ring.door.register(this.#ring.parts.fd, IORING_UNREGISTER_BUFFERS, 0, 0);
    this.#registeredBytes = 0;
  }

  #knownRegion(page: number): KnownRegion {
    const index = page >>> REGION_SHIFT;
    const region = regionOf(page);
    const known = this.#known[index];
    if (known !== null && known !== undefined && known.region === region) return known;
    return this.#learn(index, region);
  }

  #learn(index: number, region: Region): KnownRegion {
    const before = this.#known[index] ?? null;
    assert(before === null, 'ring memory: a region went and nobody was told');
    while (this.#known.length <= index) this.#known.push(null);
    const known: KnownRegion = {
      region,
      base: this.#ring.door.addressOf(region.u8),
      buffers: new Uint16Array(CHUNKS),
      uses: new Uint8Array(CHUNKS),
    };
    this.#known[index] = known;
    region.watchers.add(this.#gone);
    return known;
  }

  /**
   * Lets go of a region at once: registered memory stays pinned, and cannot be given to anybody
   * else, for as long as an idle ring would keep it.
   */
  readonly #gone = ({ index }: Region): void => {
    this.#known[index] = null;
    for (let buffer = 0; buffer < BUFFERS_MAX; buffer++) {
      if (this.#end[buffer] === 0 || this.#region[buffer] !== index) continue;
      this.#setBuffer(buffer, 0, 0);
      this.#registeredBytes -= this.#end[buffer] - this.#chunk[buffer] * CHUNK_BYTES;
      this.#end[buffer] = 0;
    }
    assert(this.#registeredBytes >= 0, 'ring memory: more let go than was registered');
  };

  #freeBuffer(): number {
    for (let buffer = 0; buffer < BUFFERS_MAX; buffer++) {
      if (this.#end[buffer] === 0) return buffer;
    }
    return -1;
  }

  #makeTable(): boolean {
    const table = new Uint32Array(new SharedArrayBuffer(SIZEOF_io_uring_rsrc_register));
    table[0] = BUFFERS_MAX;
    table[1] = IORING_RSRC_REGISTER_SPARSE;
    const { door, parts } = this.#ring;
    const address = this.#ring.addressOf(table);
    const bytes = SIZEOF_io_uring_rsrc_register;
    return door.register(parts.fd, IORING_REGISTER_BUFFERS2, address, bytes) >= 0;
  }

  /** Length 0 empties the row. A transfer in flight keeps what it had. */
  #setBuffer(buffer: number, address: number, bytes: number): boolean {
    const iovec = this.#iovec;
    putAddress(iovec, 0, address);
    iovec[2] = bytes;
    this.#update.fill(0);
    this.#update[0] = buffer;
    putAddress(this.#update, 2, this.#ring.addressOf(iovec));
    this.#update[6] = 1;
    const { door, parts } = this.#ring;
    const size = SIZEOF_io_uring_rsrc_update2;
    const op = IORING_REGISTER_BUFFERS_UPDATE;
    return door.register(parts.fd, op, this.#updateAddress, size) === 1;
  }
}

/** A 64-bit address as two words. */
export function putAddress(words: Uint32Array, at: number, address: number): void {
  const high = Math.floor(address / TWO_32);
  words[at] = address - high * TWO_32;
  words[at + 1] = high;
}
