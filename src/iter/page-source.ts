/** No page at that index. */
export const HOLE = -1;

/** Pages by file position: a page cache, or what stands for one. */
export interface PageSource {
  /** The page frame of file page `index` (position / 4096), or HOLE. */
  pageAt(index: number): number;
}
