import type { Disk } from '../../device/disk.ts';
import type { CopySource } from './endpoint.ts';

export class DiskSource implements CopySource {
  readonly disk: Disk;
  /** As it was when the copy began: what is added later is not copied. */
  readonly size: number;

  constructor(disk: Disk) {
    this.disk = disk;
    this.size = disk.size;
  }

  get name(): string {
    return this.disk.target;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { bytesRead } = await this.disk.read(into, { position });
    return bytesRead;
  }

  abandon(): void {}

  close(): Promise<void> {
    return this.disk.close();
  }
}
