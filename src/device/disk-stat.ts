/** As much of node:fs's Stats as a target has. `Size` is bigint after `stat({ bigint: true })`. */
export class DiskStat<Size extends number | bigint = number> {
  /** Bytes. */
  readonly size: Size;
  /** Bytes: the physical block. */
  readonly blksize: Size;
  readonly #fixedSize: boolean;

  constructor(size: Size, blksize: Size, fixedSize: boolean) {
    this.size = size;
    this.blksize = blksize;
    this.#fixedSize = fixedSize;
  }

  /** A write at the end makes it longer. */
  isFile(): boolean {
    return !this.#fixedSize;
  }

  /** Everything of a fixed size is one here, `ram:` and `null:` too. */
  isBlockDevice(): boolean {
    return this.#fixedSize;
  }

  isDirectory(): boolean {
    return false;
  }
}
