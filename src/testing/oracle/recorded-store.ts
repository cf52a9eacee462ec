/** One interval of a recorded disk, as far as its file says. */
export interface StoredBlock {
  /** null: not known. */
  readonly data: Uint8Array | null;
  /** null: not known. */
  readonly record: Uint8Array | null;
  /** Its data lay in several pages when it was written. */
  readonly straddles: boolean;
}

const UNKNOWN: StoredBlock = { data: null, record: null, straddles: false };

/**
 * What the writes of a file have left on its disks, for what comes later in the file. What a disk
 * held before, or got by cases that are not in the file, nobody knows.
 */
export class RecordedStore {
  readonly #disks = new Map<string, Map<number, StoredBlock>>();

  /** `block`: counted in intervals. */
  at(device: string, block: number): StoredBlock {
    return this.#disks.get(device)?.get(block) ?? UNKNOWN;
  }

  put(device: string, block: number, stored: StoredBlock): void {
    const disk = this.#disks.get(device) ?? new Map<number, StoredBlock>();
    this.#disks.set(device, disk);
    disk.set(block, stored);
  }
}
