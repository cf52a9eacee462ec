import { assert } from '../base/assert.ts';
import { ErrorCursor } from '../cache/error-sequence.ts';
import type { ExtentFile } from '../cache/extent-file.ts';
import type { BlockDevice } from '../device/block-device.ts';

export interface OpenOptions {
  /** O_DIRECT: past the page cache. A device as a block special file has no other way. */
  readonly direct?: boolean | undefined;
}

/**
 * What a descriptor names: a file of extents, or a whole device as a block special file. Shared
 * by the descriptors that fork copied, with one position. Linux: struct file.
 */
export class OpenFile {
  readonly file: ExtentFile | null;
  readonly device: BlockDevice;
  readonly isDirect: boolean;
  /** Bytes: where `read` and `write` go on. */
  position = 0;
  /** Which errors of writeback this opener has heard of. */
  readonly errors = new ErrorCursor();
  #uses = 1;

  constructor(target: ExtentFile | BlockDevice, options: OpenOptions = {}) {
    const isFile = 'extents' in target;
    this.file = isFile ? target : null;
    this.device = isFile ? target.device : target;
    this.isDirect = options.direct ?? !isFile;
    assert(isFile || this.isDirect, 'open: a block special file has no page cache here');
    this.file?.errors.open(this.errors);
  }

  /** Descriptors that name it. */
  get uses(): number {
    return this.#uses;
  }

  get sizeBytes(): number {
    return this.file?.size ?? this.device.engine.sizeBytes();
  }

  /** One more descriptor names it. */
  acquire(): void {
    assert(this.#uses > 0, 'open file: used after its last close');
    this.#uses++;
  }

  release(): void {
    assert(this.#uses > 0, 'open file: closed twice');
    this.#uses--;
  }
}
