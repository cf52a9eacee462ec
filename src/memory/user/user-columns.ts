// Row = one page frame of the region.       unit    invariant
//   mapCount   Int32   on the head   page table entries that map any page of the folio; >= 0
//   exclusive  Uint8   per page      1: anonymous and mapped by exactly one process, which may
//                                    write in place and pin (Linux: PG_anon_exclusive)
//   poisoned   Uint8   per page      1: the memory is broken; nobody may have it
//   rmapFirst  Int32   per page      first row of `Rmap` that maps the page, or -1
//   taken      Uint8   on the head   1: a `UserMemory` allocated the folio and counts it
//   owner      object  on the head   the page cache (or shared memory) that the folio is part of
//
// An entry holds one reference on the folio, an owner `ownRefs`: a folio that nobody else holds has
// refs = mapCount + ownRefs and no pin.

/** Whose page a folio is: what reclaim, migration and dirty tracking must talk to. */
export interface FolioOwner {
  /** Named in errors: 'cache of disk.img'. */
  readonly name: string;
  /** References that the owner itself holds on each of its folios. */
  readonly ownRefs: number;
  /**
   * The folio moves to `to`: its bytes are there already, and both are locked. The owner points to
   * `to` from now on; the references have been moved for it. False: not now.
   */
  replaced(from: number, to: number): boolean;
  /** A mapping wrote to `page` (its dirty bit was taken out of the table): mark the folio dirty. */
  dirtied(page: number): void;
  /**
   * The bytes of `page` are in swap slot `slot`, which the owner now owns; its references go.
   * False: not now. Absent: its folios are never swapped.
   */
  swappedOut?(page: number, slot: number): boolean;
}

/** What the address spaces of one machine know of each page frame. */
export class UserColumns {
  readonly mapCount: Int32Array;
  readonly exclusive: Uint8Array;
  readonly poisoned: Uint8Array;
  readonly rmapFirst: Int32Array;
  readonly taken: Uint8Array;
  readonly owner: (FolioOwner | null)[];

  constructor(rows: number) {
    this.mapCount = new Int32Array(rows);
    this.exclusive = new Uint8Array(rows);
    this.poisoned = new Uint8Array(rows);
    this.rmapFirst = new Int32Array(rows).fill(-1);
    this.taken = new Uint8Array(rows);
    this.owner = new Array<FolioOwner | null>(rows).fill(null);
  }
}
