import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ExtentFile } from '../../src/cache/extent-file.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openFileEngine } from '../../src/engine/file/open-file-engine.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import { Arena } from '../../src/memory/arena.ts';
import { Protection } from '../../src/memory/user/area.ts';
import { UserMemory } from '../../src/memory/user/user-memory.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { Process } from '../../src/process/process.ts';

export const PAGE = 4096;
export const DISK_BYTES = 2 * 2 ** 20;
export const RW = Protection.READ | Protection.WRITE;

export type EngineKind = 'ram' | 'file';

/** A machine with one disk: memory, a device, a process with the disk as a block special file. */
export class ProcessRig {
  readonly arena: Arena;
  readonly memory: UserMemory;
  readonly device: BlockDevice;
  readonly process: Process;
  readonly fd: number;
  readonly #folder: string | null;
  readonly #files: ExtentFile[] = [];

  private constructor(engine: Engine, folder: string | null) {
    this.#folder = folder;
    this.arena = new Arena({ label: 'rig', maxBytes: 8 * 2 ** 20 });
    this.memory = new UserMemory({ arena: this.arena, label: 'rig' });
    this.device = new BlockDevice({ engine, arena: this.arena });
    this.process = new Process({ memory: this.memory, label: 'p' });
    this.fd = this.process.open(this.device);
  }

  static async open(kind: EngineKind): Promise<ProcessRig> {
    if (kind === 'ram') {
      const defer = (run: () => void): void => queueMicrotask(run);
      return new ProcessRig(openRamEngine({ sizeBytes: DISK_BYTES, defer }), null);
    }
    const folder = mkdtempSync(join(tmpdir(), 'biovec-process-'));
    const path = join(folder, 'disk.img');
    writeFileSync(path, '');
    truncateSync(path, DISK_BYTES);
    const engine = await openFileEngine(path, { env: nodeEnv(), direct: false });
    return new ProcessRig(engine, folder);
  }

  file(options: { readonly directIoFault?: 'unwritten' | 'zero-fill' } = {}): ExtentFile {
    const file = new ExtentFile({ device: this.device, memory: this.memory, ...options });
    this.#files.push(file);
    return file;
  }

  map(pages: number, process = this.process): number {
    return process.space.mmap({ bytes: pages * PAGE, protection: RW });
  }

  /** Memory with `pages` pages, filled by `value` + page number, and nothing behind them. */
  filled(pages: number, value: number): number {
    const addr = this.map(pages + 1);
    this.process.space.munmap(addr + pages * PAGE, PAGE);
    for (let i = 0; i < pages; i++) {
      this.process.space.write(addr + i * PAGE, new Uint8Array(PAGE).fill(value + i));
    }
    return addr;
  }

  bytesAt(addr: number, bytes: number, process = this.process): Uint8Array {
    const into = new Uint8Array(bytes);
    const count = process.space.read(addr, into);
    return into.subarray(0, count);
  }

  async close(): Promise<void> {
    if (this.process.isAlive) this.process.exit();
    for (const file of this.#files) {
      await new Promise<void>((resolve) => file.whenIdle(resolve));
      file[Symbol.dispose]();
    }
    await this.device.close();
    this.device.assertNothingOutstanding();
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
    if (this.#folder !== null) rmSync(this.#folder, { recursive: true, force: true });
  }
}
