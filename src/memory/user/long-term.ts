import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { formatSize, PAGE_BYTES, pagesSpanned } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { unpinList } from '../holds.ts';
import { REGION_SHIFT } from '../region.unsafe.ts';
import type { PinBudget, PinHolder } from './pin-budget.ts';
import { PinFlag, pinUserPages } from './pin-user-pages.ts';
import { unpinUserPagesDirty } from './unpin-user-pages.ts';
import type { UserSpace } from './user-space.ts';

export interface RegisterOptions {
  /** Charged with whole pages; the region's owner in leak reports. */
  readonly budget: PinBudget;
  /** What devices do to the memory. Default WRITE. */
  readonly access?: Access;
  readonly label?: string;
  /** Past the budget: say 'copy' instead of throwing. */
  readonly orCopy?: boolean;
  readonly signal?: AbortSignal;
}

/** The budget has no room: the transfer goes through a copy. */
export interface CopyVerdict {
  readonly kind: 'copy';
  readonly reason: string;
  readonly requiredBytes: number;
  readonly allowedBytes: number;
}

/**
 * A range of a program's memory that stays pinned until `release`, through any number of
 * transfers: registered buffers, remote memory access. All of it or nothing.
 * Linux: ib_umem_get(), io_uring's registered buffers.
 */
export class PinnedRegion implements PinHolder {
  readonly kind = 'pinned';
  readonly label: string;
  readonly addr: number;
  readonly bytes: number;
  readonly access: Access;
  /** Frames, one an entry, in the order of the addresses. */
  readonly pages: Uint32Array;
  /**
   * Rows for a segment list, contiguous memory joined: row i is `rowLen[i]` bytes from byte
   * `rowOffset[i]` < 4096 of frame `rowPage[i]` on. Together they are `bytes` long.
   */
  readonly rowPage: Uint32Array;
  readonly rowOffset: Uint32Array;
  readonly rowLen: Uint32Array;
  readonly #budget: PinBudget;
  readonly #place: Error;
  #isReleased = false;

  private constructor(
    range: { readonly addr: number; readonly bytes: number },
    pages: Uint32Array,
    access: Access,
    ticket: Ticket,
    budget: PinBudget,
  ) {
    this.label = ticket.label;
    this.addr = range.addr;
    this.bytes = range.bytes;
    this.access = access;
    this.pages = pages;
    const rows = joinRows(pages, range.addr % PAGE_BYTES, range.bytes);
    this.rowPage = rows.page;
    this.rowOffset = rows.offset;
    this.rowLen = rows.len;
    this.#budget = budget;
    this.#place = ticket.place;
  }

  static register(
    space: UserSpace,
    addr: number,
    bytes: number,
    options: RegisterOptions & { readonly orCopy: true },
  ): Promise<PinnedRegion | CopyVerdict>;
  static register(
    space: UserSpace,
    addr: number,
    bytes: number,
    options: RegisterOptions,
  ): Promise<PinnedRegion>;
  /**
   * Throws ENOMEM with required and allowed past the budget (or gives a CopyVerdict), and EFAULT,
   * EBUSY, ENOMEM, EINTR … of the pin; nothing is pinned or charged then.
   */
  static async register(
    space: UserSpace,
    addr: number,
    bytes: number,
    options: RegisterOptions,
  ): Promise<PinnedRegion | CopyVerdict> {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) {
      throw new BlockError('EINVAL', { reason: `cannot register ${bytes} bytes` });
    }
    const { budget } = options;
    const count = pagesSpanned(addr % PAGE_BYTES, bytes);
    const required = count * PAGE_BYTES;
    const ticket = new Ticket(options.label ?? 'pinned region', addr, bytes);
    if (!budget.tryCharge(ticket, required)) {
      const reason = `'${ticket.label}': ${budget.refusal(required)}`;
      const allowedBytes = budget.allowedBytes;
      if (options.orCopy !== true) throw new BlockError('ENOMEM', { reason, length: bytes });
      return { kind: 'copy', reason, requiredBytes: required, allowedBytes };
    }
    const access = options.access ?? Access.WRITE;
    try {
      const pages = await pinAll(space, addr, count, access, options.signal ?? null);
      const region = new PinnedRegion({ addr, bytes }, pages, access, ticket, budget);
      budget.uncharge(ticket);
      assert(budget.tryCharge(region, required), 'pinned region: its charge is gone');
      return region;
    } catch (error) {
      budget.uncharge(ticket);
      throw error;
    }
  }

  /** Pages that are pinned now. */
  get pinnedPages(): number {
    return this.#isReleased ? 0 : this.pages.length;
  }

  /**
   * Unpins; what devices may have written is dirty first. No folio lock is needed: a mapping whose
   * file tracks dirty pages was refused. Pre: no transfer uses the memory; not released.
   */
  release(): void {
    if (this.#isReleased) {
      throw new BlockError('ERR_BIOVEC_RELEASED', {
        reason: `${this.describe()} was released twice`,
      });
    }
    this.#isReleased = true;
    if (this.access === Access.WRITE) unpinUserPagesDirty(this.pages, 0, this.pages.length);
    else unpinList(this.pages, 0, this.pages.length);
    this.#budget.uncharge(this);
  }

  [Symbol.dispose](): void {
    if (!this.#isReleased) this.release();
  }

  /** "'ring' of 8 KiB at 0x1000, registered at file.ts:1:2". */
  describe(): string {
    return describe(this.label, this.addr, this.bytes, this.#place);
  }
}

/** Holds the charge while the pages are being pinned. */
class Ticket implements PinHolder {
  readonly label: string;
  readonly place = new Error('registered here');
  readonly #addr: number;
  readonly #bytes: number;

  constructor(label: string, addr: number, bytes: number) {
    this.label = label;
    this.#addr = addr;
    this.#bytes = bytes;
  }

  describe(): string {
    return `${describe(this.label, this.#addr, this.#bytes, this.place)}, not pinned yet`;
  }
}

function describe(label: string, addr: number, bytes: number, place: Error): string {
  const lines = place.stack?.split('\n').slice(1) ?? [];
  const own = /[\\/]memory[\\/]user[\\/]long-term\.[jt]s/;
  const at = lines.find((line) => !own.test(line))?.trim();
  const where = at === undefined ? '' : `, registered ${at}`;
  return `'${label}' of ${formatSize(bytes)} at 0x${addr.toString(16)}${where}`;
}

/** All pages, or nothing pinned and an error that names the first page that failed. */
async function pinAll(
  space: UserSpace,
  addr: number,
  count: number,
  access: Access,
  signal: AbortSignal | null,
): Promise<Uint32Array> {
  const pages = new Uint32Array(count);
  const write = access === Access.WRITE ? PinFlag.WRITE : 0;
  const flags = PinFlag.LONGTERM | write;
  const first = Math.floor(addr / PAGE_BYTES) * PAGE_BYTES;
  let done = 0;
  while (done < count) {
    const at = first + done * PAGE_BYTES;
    let had = await pinUserPages(space, at, count - done, flags, pages, done, signal);
    if (had > 0) {
      done += had;
      if (done === count || signal?.aborted !== true) continue;
      had = -Errno.EINTR; // A short count was the signal's answer; asking again would not hear it.
    }
    unpinList(pages, 0, done);
    const reason =
      `page ${done} of ${count}, at 0x${(first + done * PAGE_BYTES).toString(16)} ` +
      `of '${space.label}', ` +
      `cannot be pinned for long${had === -Errno.EBUSY ? ': it must move, and is in use' : ''}`;
    throw BlockError.fromErrno(had, { reason });
  }
  return pages;
}

interface Rows {
  readonly page: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;
}

/**
 * Frames that follow each other in one memory are one row. The longest is a whole region but its
 * zero page, 2^32 - 4096 bytes, so a Uint32 holds every length.
 */
function joinRows(pages: Uint32Array, offset: number, bytes: number): Rows {
  const page: number[] = [];
  const len: number[] = [];
  let left = bytes;
  for (let i = 0; i < pages.length; i++) {
    const row = page.length - 1;
    const here = Math.min(left, i === 0 ? PAGE_BYTES - offset : PAGE_BYTES);
    left -= here;
    if (i > 0 && joins(pages[i - 1], pages[i])) {
      len[row] += here;
    } else {
      page.push(pages[i]);
      len.push(here);
    }
  }
  assert(left === 0, 'pinned region: rows are shorter than the range');
  const offsets = new Uint32Array(page.length);
  offsets[0] = offset;
  return { page: Uint32Array.from(page), offset: offsets, len: Uint32Array.from(len) };
}

/** Neighbouring numbers of two regions are not neighbouring memory. */
function joins(before: number, page: number): boolean {
  return page === before + 1 && page >>> REGION_SHIFT === before >>> REGION_SHIFT;
}
