/** What `allocPage` shall give. */
export interface CachePageOptions {
  readonly zeroed: boolean;
  readonly movable: boolean;
  readonly order?: number;
}

/** What gives up memory when there is too little. Linux: struct shrinker. */
export interface CacheShrinker {
  readonly name: string;
  /** Frees up to `pages` frames now. How many. */
  shrink(pages: number): number;
}

/** What a page cache needs of the memory of its machine (`UserMemory`). */
export interface CacheMemory {
  /** A folio with one reference, after reclaim if needed, or -ENOMEM. */
  allocPage(options: CachePageOptions): number;
  putPage(page: number): void;
  addShrinker(shrinker: CacheShrinker): void;
  removeShrinker(shrinker: CacheShrinker): void;
  /** Drops every mapping of the folio; dirty bits of entries go to its owner. */
  unmapFolio(page: number): void;
  /** Write-protects every shared mapping of the folio. True: one of them had written. */
  cleanFolio(page: number): boolean;
  tryLockFolio(page: number): boolean;
  unlockFolio(page: number): void;
  /** Calls `wake` once, after the next unlock. Pre: locked. */
  whenUnlocked(page: number, wake: () => void): void;
  /** A page of zeros that nobody counts. */
  readonly zeroPage: number;
}
