import { crc32 } from 'node:zlib';

/** A checksum of each chunk of a stream, for comparing later what cannot be read again. */
export class ChunkDigests {
  #sums = new Uint32Array(1024);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  set(index: number, bytes: Uint8Array): void {
    if (index >= this.#sums.length) {
      const larger = new Uint32Array(index * 2);
      larger.set(this.#sums);
      this.#sums = larger;
    }
    this.#sums[index] = crc32(bytes);
    this.#count = Math.max(this.#count, index + 1);
  }

  matches(index: number, bytes: Uint8Array): boolean {
    return index < this.#count && this.#sums[index] === crc32(bytes);
  }
}
