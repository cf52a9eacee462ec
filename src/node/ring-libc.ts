import type { RingPoll } from '../base/env.ts';

/** The C functions behind the ring's door. Addresses are Numbers. -1 = see `errno()`. */
export interface RingLibc {
  readonly kind: string;
  setup(entries: number, address: number): number;
  enter(
    fd: number,
    submit: number,
    minComplete: number,
    flags: number,
    address: number,
    bytes: number,
  ): number;
  register(fd: number, opcode: number, address: number, count: number): number;
  /** MAP_SHARED | MAP_POPULATE, readable and writable. */
  mmap(bytes: number, fd: number, offset: number): number;
  munmap(address: number, bytes: number): number;
  eventfd(count: number, flags: number): number;
  read(fd: number, address: number, bytes: number): number;
  /** Not by node:fs: a worker warns of descriptors that it did not open itself. */
  close(fd: number): number;
  addressOf(view: Uint8Array): number;
  /** The memory at `address` as a buffer that does not own it. */
  view(address: number, bytes: number): ArrayBuffer;
  errno(): number;
  /** null: the library has no such call. Runs outside of Node's callbacks: see `linux-ring.ts`. */
  readonly poll: ((fd: number, onReadable: () => void) => RingPoll) | null;
}
