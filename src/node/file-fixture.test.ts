import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BlockError } from '../base/block-error.ts';
import type { FileSystem, HostEnv, Native } from '../base/env.ts';
import type { BioOp } from '../bio/bio-op.ts';
import type { FileEngine } from '../engine/file/file-engine.ts';
import { type FileEngineOptions, openFileEngine } from '../engine/file/open-file-engine.ts';
import type { UringEngine } from '../engine/uring/uring-engine.ts';
import { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { type DrivenResult, EngineDriver } from '../testing/engine-driver.ts';
import { nodeEnv } from './node-env.ts';

// What the tests of the file engine share. They stand here because they need a real host, which the
// engine's own folder may not import. No test of its own.

let count = 0;

/** A file of the test's own; it goes with `using`. */
export class TemporaryFile {
  readonly path = path.join(os.tmpdir(), `biovec-test-${process.pid}-${count++}.img`);

  /** Bytes, or the size of a sparse file. */
  constructor(content: Uint8Array | number) {
    fs.writeFileSync(this.path, typeof content === 'number' ? '' : content);
    if (typeof content === 'number') fs.truncateSync(this.path, content);
  }

  read(start: number, bytes: number): Uint8Array {
    const fd = fs.openSync(this.path, 'r');
    try {
      const out = new Uint8Array(bytes);
      const done = fs.readSync(fd, out, 0, bytes, start);
      return out.subarray(0, done);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Bytes that the file takes on its disk, after everything was written out. */
  allocatedBytes(): number {
    const fd = fs.openSync(this.path, 'r+');
    fs.fsyncSync(fd);
    const { blocks } = fs.fstatSync(fd);
    fs.closeSync(fd);
    return blocks * 512;
  }

  [Symbol.dispose](): void {
    fs.rmSync(this.path, { force: true });
  }
}

/** Node's environment with some calls replaced. */
export function envWith(calls: Partial<FileSystem>, native: Native | null = null): HostEnv {
  const env = nodeEnv();
  return { ...env, fs: { ...env.fs, ...calls }, native, nativeReason: 'none in this test' };
}

/** Bytes that tell where they are from. */
export function pattern(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) out[i] = (i * 7 + seed + (i >> 9)) & 0xff;
  return out;
}

const BUFFER_BYTES = 2 ** 21;

/** One engine with a buffer: what a test needs to send requests by byte position. */
export class FileBench {
  readonly engine: FileEngine | UringEngine;
  readonly driver: EngineDriver;
  readonly buffer: ArenaBuffer;
  readonly #arena = new Arena({ label: 'file test', maxBytes: 2 * BUFFER_BYTES });

  constructor(engine: FileEngine | UringEngine) {
    this.engine = engine;
    this.driver = new EngineDriver({ engine });
    this.buffer = this.#arena.alloc(BUFFER_BYTES);
  }

  static async open(target: string, options: FileEngineOptions): Promise<FileBench> {
    return new FileBench(await openFileEngine(target, options));
  }

  build(op: BioOp, start: number, bytes: number, flags = 0): number {
    const segment = { page: this.buffer.page, offset: 0, len: bytes };
    return this.driver.build(op, start, [bytes === 0 ? [] : [segment]], { flags, bytes });
  }

  /** One request, once: a short transfer is not continued. */
  async once(op: BioOp, start: number, bytes: number, flags = 0): Promise<DrivenResult> {
    const tag = this.build(op, start, bytes, flags);
    const [result] = await this.driver.run([tag]);
    this.driver.release(tag);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.driver.assertNothingOutstanding();
    await this.engine.close();
    this.buffer.release();
    this.#arena.assertNothingOutstanding();
    this.#arena[Symbol.dispose]();
  }
}

/** For assert.rejects: a BlockError with this code whose reason reads so. */
export function blockError(code: string, reason: RegExp): (error: unknown) => true {
  return (error) => {
    assert(error instanceof BlockError, `no BlockError: ${error}`);
    assert.equal(error.code, code);
    assert.match(error.reason, reason);
    return true;
  };
}
