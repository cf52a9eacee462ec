import {
  IORING_REGISTER_FILES_UPDATE,
  IORING_REGISTER_FILES2,
  IORING_RSRC_REGISTER_SPARSE,
  SIZEOF_io_uring_rsrc_register,
  SIZEOF_io_uring_rsrc_update,
} from '../../abi/io-uring.ts';
import type { Ring } from './ring.ts';
import { putAddress } from './ring-memory.ts';

const FILES_MAX = 64;

/** Files that one ring knows by index, which saves a reference on each transfer. */
export class RingFiles {
  readonly #ring: Ring;
  readonly #isTaken = new Uint8Array(FILES_MAX);
  readonly #update = new Uint32Array(new SharedArrayBuffer(SIZEOF_io_uring_rsrc_update));
  readonly #fd = new Int32Array(new SharedArrayBuffer(4));
  readonly #hasTable: boolean;

  constructor(ring: Ring) {
    this.#ring = ring;
    const table = new Uint32Array(new SharedArrayBuffer(SIZEOF_io_uring_rsrc_register));
    table[0] = FILES_MAX;
    table[1] = IORING_RSRC_REGISTER_SPARSE;
    const { door, parts } = ring;
    const address = ring.addressOf(table);
    const bytes = SIZEOF_io_uring_rsrc_register;
    this.#hasTable = door.register(parts.fd, IORING_REGISTER_FILES2, address, bytes) >= 0;
  }

  /** An index, or -1 when there is none left or the kernel has no such table. */
  add(fd: number): number {
    const index = this.#hasTable ? this.#isTaken.indexOf(0) : -1;
    if (index < 0 || !this.#set(index, fd)) return -1;
    this.#isTaken[index] = 1;
    return index;
  }

  /** The ring lets go of the file at once, not when it is torn down. */
  remove(index: number): void {
    this.#set(index, -1);
    this.#isTaken[index] = 0;
  }

  #set(index: number, fd: number): boolean {
    this.#fd[0] = fd;
    this.#update[0] = index;
    putAddress(this.#update, 2, this.#ring.addressOf(this.#fd));
    const { door, parts } = this.#ring;
    const address = this.#ring.addressOf(this.#update);
    return door.register(parts.fd, IORING_REGISTER_FILES_UPDATE, address, 1) === 1;
  }
}
