import { assert } from '../base/assert.ts';
import { HOLE, type PageSource } from '../iter/page-source.ts';
import { folioHead, folioPages, getPages, maybePinned, refCount } from '../memory/holds.ts';
import { FrameFlag, frameOf, regionOf } from '../memory/region.unsafe.ts';
import type { FolioOwner } from '../memory/user/user-columns.ts';
import { CacheIndex, CacheTag } from './cache-index.ts';
import type { CacheMemory, CachePageOptions, CacheShrinker } from './cache-memory.ts';
import { clearFlag, hasFlag, mapCount, setFlag } from './folio-flags.ts';

/** Largest folio that a cache asks for: 2 MiB, as a huge page. */
export const FOLIO_ORDER_MAX = 9;

/** Who does what the pages of a cache cannot do themselves: the file. */
export interface CacheHost {
  readonly name: string;
  /** Reclaim met a dirty folio: write back, soon, but not from inside this call. */
  writeOutSoon(): void;
  /** So many reserved blocks are not needed any more. */
  unreserve(blocks: number): void;
}

class PageCacheCounters {
  /** Pages that reclaim dropped, left because of a pin, left for another hold. */
  dropped = 0;
  keptPinned = 0;
  keptHeld = 0;
  /** Pages that truncation, a hole or a direct write took out of the file. */
  removed = 0;
  migrated = 0;
}

const ALLOC_OPTIONS: readonly CachePageOptions[] = Array.from(
  { length: FOLIO_ORDER_MAX + 1 },
  (_, order) => ({ zeroed: false, movable: true, order }),
);

/**
 * The pages of one file that are in memory. A folio in it has one reference of the cache; while
 * it is read it is LOCKED, while it is written it has WRITEBACK, and that keeps it in its place:
 * transfers borrow the pages and hold nothing.
 *
 * Flags: DIRTY, LOCKED and WRITEBACK stand at the frame, what concerns the place at the index.
 * Linux: struct address_space, mm/filemap.c.
 */
export class PageCache implements PageSource, FolioOwner, CacheShrinker {
  readonly memory: CacheMemory;
  readonly index = new CacheIndex();
  readonly counters = new PageCacheCounters();
  readonly ownRefs = 1;
  readonly #host: CacheHost;
  /** Head page → index of that page. */
  readonly #place = new Map<number, number>();
  readonly #writebackWaiting = new Map<number, (() => void)[]>();
  /** Where reclaim goes on. */
  #hand = 0;

  constructor(memory: CacheMemory, host: CacheHost) {
    this.memory = memory;
    this.#host = host;
    memory.addShrinker(this);
  }

  get name(): string {
    return this.#host.name;
  }

  /** Pages in memory. */
  get pages(): number {
    return this.index.count;
  }

  /** The page frame of file page `index`, up to date or not, or HOLE. */
  pageAt(index: number): number {
    return this.index.pageAt(index);
  }

  /** Index of the first page of the folio that lies over `index`. Pre: one does. */
  headIndex(index: number): number {
    const page = this.index.pageAt(index);
    assert(page !== HOLE, 'page cache: no folio there');
    return index - (page - folioHead(page));
  }

  /** True when any of `tags` is set at the folio (or, for RESERVED, at the page) of `index`. */
  hasTag(index: number, tags: number): boolean {
    const at = (tags & CacheTag.RESERVED) !== 0 ? index : this.headIndex(index);
    return (this.index.tagsAt(at) & tags) !== 0;
  }

  setTag(index: number, tags: number): void {
    const at = (tags & CacheTag.RESERVED) !== 0 ? index : this.headIndex(index);
    this.index.setTags(at, this.index.tagsAt(at) | tags);
  }

  clearTag(index: number, tags: number): void {
    const at = (tags & CacheTag.RESERVED) !== 0 ? index : this.headIndex(index);
    this.index.setTags(at, this.index.tagsAt(at) & ~tags);
  }

  /**
   * A new folio of 2^order pages at `index`, LOCKED and not up to date. Its first page, or
   * -ENOMEM. Pre: `index` is a multiple of 2^order and nothing is there.
   */
  add(index: number, order: number): number {
    assert(index % 2 ** order === 0, 'page cache: a folio lies off its own size');
    const page = this.memory.allocPage(ALLOC_OPTIONS[order]);
    if (page < 0) return page;
    assert(this.memory.tryLockFolio(page), 'page cache: a new folio is locked');
    for (let i = 0; i < 2 ** order; i++) this.index.insert(index + i, page + i, CacheTag.PRESENT);
    this.#place.set(page, index);
    setOwner(page, this);
    return page;
  }

  /**
   * Takes the folio at `index` out of the file at once. Its memory lives until the last hold goes;
   * what a device writes there later is lost. Pre: not locked, no writeback.
   */
  remove(index: number): void {
    const head = this.headIndex(index);
    const page = this.index.pageAt(head);
    assert(!hasFlag(page, FrameFlag.WRITEBACK), 'page cache: removed under writeback');
    assert(!hasFlag(page, FrameFlag.LOCKED), 'page cache: removed while it is locked');
    this.#takeOut(head, page);
  }

  /** The same by the one who has the lock, which goes too. */
  removeLocked(index: number): void {
    const head = this.headIndex(index);
    const page = this.index.pageAt(head);
    assert(hasFlag(page, FrameFlag.LOCKED), 'page cache: the lock is not held');
    getPages(page, 1); // Those who wait for the lock must hear of it before the frame goes.
    this.#takeOut(head, page);
    this.memory.unlockFolio(page);
    this.memory.putPage(page);
  }

  #takeOut(head: number, page: number): void {
    if (mapCount(page) > 0) this.memory.unmapFolio(page);
    const pages = folioPages(page);
    let reserved = 0;
    for (let i = head; i < head + pages; i++) {
      if ((this.index.tagsAt(i) & CacheTag.RESERVED) !== 0) reserved++;
      this.index.remove(i);
    }
    if (reserved > 0) this.#host.unreserve(reserved);
    this.#place.delete(page);
    setOwner(page, null);
    clearFlag(page, FrameFlag.DIRTY);
    this.memory.putPage(page);
  }

  /** Calls `wake` once, when the writeback of `page` has ended. Pre: it has WRITEBACK. */
  whenWritten(page: number, wake: () => void): void {
    assert(hasFlag(page, FrameFlag.WRITEBACK), 'page cache: no writeback to wait for');
    const head = folioHead(page);
    const waiting = this.#writebackWaiting.get(head);
    if (waiting === undefined) this.#writebackWaiting.set(head, [wake]);
    else waiting.push(wake);
  }

  endWriteback(page: number): void {
    assert(hasFlag(page, FrameFlag.WRITEBACK), 'page cache: writeback ended twice');
    clearFlag(page, FrameFlag.WRITEBACK);
    const head = folioHead(page);
    const waiting = this.#writebackWaiting.get(head);
    if (waiting === undefined) return;
    this.#writebackWaiting.delete(head);
    for (const wake of waiting) wake();
  }

  /** Dirty pages now, those that devices dirtied included. Walks the cache. */
  countDirty(): number {
    let count = 0;
    for (let at = this.index.next(0); at >= 0; at = this.index.next(at + 1)) {
      if (hasFlag(this.index.pageAt(at), FrameFlag.DIRTY)) count++;
    }
    return count;
  }

  /** FolioOwner: a mapping wrote to it. Its blocks were reserved by `pageMkwrite`. */
  dirtied(page: number): void {
    setFlag(page, FrameFlag.DIRTY);
  }

  /** FolioOwner: migration moved the bytes. */
  replaced(from: number, to: number): boolean {
    const index = this.#place.get(from);
    if (index === undefined || hasFlag(from, FrameFlag.WRITEBACK)) return false;
    const pages = folioPages(from);
    assert(folioPages(to) === pages, 'page cache: replaced by a folio of another size');
    for (let i = 0; i < pages; i++) this.index.replace(index + i, to + i);
    this.#place.delete(from);
    this.#place.set(to, index);
    if (hasFlag(from, FrameFlag.DIRTY)) setFlag(to, FrameFlag.DIRTY);
    clearFlag(from, FrameFlag.DIRTY);
    setOwner(from, null);
    setOwner(to, this);
    this.counters.migrated += pages;
    return true;
  }

  /**
   * Shrinker: drops clean folios that nobody holds, mapped ones too, once more round for those
   * used lately. Dirty ones are written back, and can be dropped the next time.
   */
  shrink(pages: number): number {
    let freed = 0;
    let left = 2 * this.index.count;
    while (freed < pages && left > 0) {
      let at = this.index.next(this.#hand);
      if (at < 0) at = this.index.next(0);
      if (at < 0) break;
      const head = this.headIndex(at);
      const size = folioPages(this.index.pageAt(head));
      this.#hand = head + size;
      left -= size;
      if (this.hasTag(head, CacheTag.REFERENCED)) this.clearTag(head, CacheTag.REFERENCED);
      else freed += this.#tryDrop(head, size);
    }
    return freed;
  }

  /** Pages freed: all of the folio at `head`, or 0. */
  #tryDrop(head: number, size: number): number {
    const page = this.index.pageAt(head);
    if (hasFlag(page, FrameFlag.LOCKED | FrameFlag.WRITEBACK)) return 0;
    // Linux asks after it has unmapped. Nobody can pin in between, so asking first spares faults.
    if (maybePinned(page)) {
      this.counters.keptPinned += size;
      this.setTag(head, CacheTag.REFERENCED);
      return 0;
    }
    if (refCount(page) !== this.ownRefs + mapCount(page)) {
      this.counters.keptHeld += size;
      return 0;
    }
    if (mapCount(page) > 0) this.memory.unmapFolio(page);
    if (hasFlag(page, FrameFlag.DIRTY)) {
      this.#host.writeOutSoon();
      return 0;
    }
    this.remove(head);
    this.counters.dropped += size;
    return size;
  }

  /** Slow: places, frames and holds agree. */
  verify(): void {
    let folios = 0;
    for (let at = this.index.next(0); at >= 0; ) {
      const head = this.headIndex(at);
      const page = this.index.pageAt(head);
      const pages = folioPages(page);
      assert(head === at && this.#place.get(page) === head, 'page cache: a folio is misplaced');
      for (let i = 0; i < pages; i++) {
        assert(this.index.pageAt(head + i) === page + i, 'page cache: a folio has a gap');
      }
      assert(refCount(page) >= 1 + mapCount(page), 'page cache: a reference is missing');
      folios++;
      at = this.index.next(head + pages);
    }
    assert(folios === this.#place.size, 'page cache: a place without a folio');
  }

  /** Pre: no transfers. Post: no pages; dirty ones are lost. */
  [Symbol.dispose](): void {
    for (let at = this.index.next(0); at >= 0; at = this.index.next(0)) this.remove(at);
    this.memory.removeShrinker(this);
  }
}

function setOwner(page: number, owner: FolioOwner | null): void {
  const region = regionOf(page);
  if (region.user !== null) region.user.owner[frameOf(page)] = owner;
}
