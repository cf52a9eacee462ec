import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine, EngineInfo, Extent, WriterLock } from '../contract.ts';
import { CompletionRing } from '../memory/completion-ring.ts';
import { fileExtents } from './extents.ts';
import { FileLock } from './file-lock.ts';
import { FileSlot } from './file-slot.ts';
import { type OpenFile, statusOf } from './open-file.ts';

/**
 * The reference engine: regular files and block devices on node:fs, buffered or O_DIRECT.
 * Made by `openFileEngine`.
 */
export class FileEngine implements Engine {
  readonly info: EngineInfo;
  readonly writerLock: WriterLock;
  /** For an engine that does a part of the work by other calls. */
  readonly file: OpenFile;
  readonly #ring: CompletionRing;
  readonly #slots: FileSlot[] = [];
  #table: RequestTable | null = null;
  /** Accepted and not reaped. */
  #busy = 0;
  #isClosed = false;

  constructor(file: OpenFile, info: EngineInfo) {
    this.file = file;
    this.info = info;
    this.writerLock = new FileLock(file);
    this.#ring = new CompletionRing(info.depth, file.env.defer);
  }

  sizeBytes(): number {
    return this.file.sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'file: attached twice');
    this.#table = table;
    for (let i = 0; i < table.depth; i++) {
      this.#slots.push(new FileSlot(this.file, table, this.#ring));
    }
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    assert(this.#table !== null, 'file: submit before attach');
    assert(first + count <= tags.length, 'file: submit outside the list of tags');
    if (this.#isClosed) return -Errno.ENODEV;
    const room = Math.min(count, this.info.depth - this.#busy);
    for (let i = first; i < first + room; i++) {
      const tag = tags[i];
      this.#busy++;
      this.#slots[slotOf(tag)].start(tag);
    }
    return room;
  }

  reap(tags: Uint32Array, max: number): number {
    const count = this.#ring.drain(tags, max);
    this.#busy -= count;
    assert(this.#busy >= 0, 'file: reaped more than was accepted');
    return count;
  }

  cancel(tag: number): number {
    const slot = tag === TAG_NONE ? undefined : this.#slots[slotOf(tag)];
    if (slot === undefined || slot.tag !== tag) return this.#ring.find(tag);
    slot.cancel();
    return 0;
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  async *extents(start: number, end: number): AsyncGenerator<Extent> {
    yield* fileExtents(this.file, start, end);
  }

  async truncate(bytes: number): Promise<void> {
    const file = this.file;
    const device = this.info.target;
    if (file.isBlock) {
      throw new BlockError('EINVAL', { reason: 'a block device keeps its size', device });
    }
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      const reason = `the size must be a whole number of bytes from 0 to 2^53 - 1, not ${bytes}`;
      throw new BlockError('EINVAL', { reason, device });
    }
    await new Promise<void>((resolve, reject) => {
      file.env.fs.ftruncate(file.fd, bytes, (error) => {
        if (!error) return resolve();
        const reason = `cannot make the file ${bytes} bytes long`;
        const detail = { reason, device, syscall: 'ftruncate', cause: error };
        return reject(BlockError.fromErrno(statusOf(error), detail));
      });
    });
    file.sizeBytes = bytes;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    assert(this.#busy === 0, 'file: closed with requests in flight');
    this.#isClosed = true;
    for (const slot of this.#slots) slot.clear();
    try {
      await this.file.close();
    } catch (cause) {
      const status = statusOf(cause as { code?: string; message: string });
      const detail = {
        reason: 'closing failed',
        device: this.info.target,
        syscall: 'close',
        cause,
      };
      throw BlockError.fromErrno(status, detail);
    }
  }
}
