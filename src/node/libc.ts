/** The C functions behind the door, as both FFI libraries offer them. -1 = see `errno()`. */
export interface Libc {
  readonly kind: string;
  statx(fd: number, path: string, flags: number, mask: number, buffer: Uint8Array): number;
  lseek(fd: number, offset: number, whence: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  fallocate(fd: number, mode: number, start: number, bytes: number): number;
  fcntl(fd: number, command: number, argument: Uint8Array): number;
  /** Of the last call on this thread. */
  errno(): number;
  /** The two that may take long, on another thread; null where the library cannot. */
  readonly later: LibcLater | null;
}

export type LibcDone = (error: Error | null, result: number) => void;

export interface LibcLater {
  ioctl(fd: number, request: number, argument: Uint8Array, done: LibcDone): void;
  fallocate(fd: number, mode: number, start: number, bytes: number, done: LibcDone): void;
}
