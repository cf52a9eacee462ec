// A process of its own for one way and one case: its CPU, its memory and its compiled code are its
// own. Rounds are asked for by messages; the compiled code stays warm between them.

import fs from 'node:fs';
import { BioOp, IovIter, IterDirection } from '../src/bio.ts';
import { Arena, type Disk, open } from '../src/index.ts';
import type { IoTask } from './io-case.ts';
import type { Figure } from './rounds.ts';

/** So often a round looks at the clock. */
const CLOCK_MS = 5;

const task = JSON.parse(process.argv[2] ?? 'null') as IoTask;
const arena = new Arena({ maxBytes: 512 * 2 ** 20 });
// Page-aligned and never moved for all ways, so that nobody pays for somebody else's rule.
const memory = arena.alloc(task.blockBytes * task.depth);
const blocks = Math.floor(fs.statSync(task.path).size / task.blockBytes);
let isOver = false;
let count = 0;

function bufferOf(slot: number): Uint8Array<SharedArrayBuffer> {
  return memory.bytes.subarray(slot * task.blockBytes, (slot + 1) * task.blockBytes);
}

function anywhere(): number {
  return Math.floor(Math.random() * blocks) * task.blockBytes;
}

type Slot = (slot: number) => Promise<void>;

function onDisk(disk: Disk): Slot {
  return async (slot) => {
    const buffer = bufferOf(slot);
    while (!isOver) {
      const position = anywhere();
      if (task.write) await disk.write(buffer, { position });
      else await disk.read(buffer, { position });
      count++;
    }
  };
}

/** The API with callbacks, of `biovec/bio`. */
function onTransfers({ device }: Disk): Slot {
  const op = task.write ? BioOp.WRITE : BioOp.READ;
  const direction = task.write ? IterDirection.SOURCE : IterDirection.DEST;
  const options = {};
  return (slot) => {
    const buffer = bufferOf(slot);
    const iter = new IovIter();
    return new Promise((resolve, reject) => {
      const start = (): void => {
        const bytes = iter.initView(direction, buffer);
        device.transfer(op, anywhere(), iter, bytes, options, ended);
      };
      const ended = (_: unknown, result: number): void => {
        count++;
        if (result !== buffer.length) reject(new Error(`a transfer ended with ${result}`));
        else if (isOver) resolve();
        else start();
      };
      start();
    });
  };
}

function onHandle(handle: fs.promises.FileHandle): Slot {
  const { blockBytes } = task;
  return async (slot) => {
    const buffer = bufferOf(slot);
    while (!isOver) {
      if (task.write) await handle.write(buffer, 0, blockBytes, anywhere());
      else await handle.read(buffer, 0, blockBytes, anywhere());
      count++;
    }
  };
}

function onCallbacks(fd: number): Slot {
  const { blockBytes } = task;
  return (slot) => {
    const buffer = bufferOf(slot);
    return new Promise((resolve, reject) => {
      const start = (): void => {
        if (task.write) fs.write(fd, buffer, 0, blockBytes, anywhere(), done);
        else fs.read(fd, buffer, 0, blockBytes, anywhere(), done);
      };
      const done = (error: Error | null): void => {
        count++;
        if (error !== null) reject(error);
        else if (isOver) resolve();
        else start();
      };
      start();
    });
  };
}

async function round(slot: Slot): Promise<Figure> {
  count = 0;
  isOver = false;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const clock = setInterval(() => {
    isOver = performance.now() - start >= task.seconds * 1000;
  }, CLOCK_MS);
  await Promise.all(Array.from({ length: task.depth }, (_, index) => slot(index)));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  clearInterval(clock);
  const cpuSeconds = (user + system) / 1e6;
  return { amount: count, seconds, cpuSeconds, rssBytes: process.memoryUsage.rss() };
}

async function slotOfTask(): Promise<{ slot: Slot; close: () => Promise<void> }> {
  const { path, direct, write, way } = task;
  if (way === 'biovec' || way === 'biovec transfer') {
    const disk = await open(path, { direct, readOnly: !write, arena });
    const slot = way === 'biovec' ? onDisk(disk) : onTransfers(disk);
    return { slot, close: () => disk.close() };
  }
  const flags = (write ? fs.constants.O_RDWR : 0) | (direct ? fs.constants.O_DIRECT : 0);
  const handle = await fs.promises.open(path, flags);
  const slot = way === 'fs.promises' ? onHandle(handle) : onCallbacks(handle.fd);
  return { slot, close: () => handle.close() };
}

const { slot, close } = await slotOfTask();
process.on('message', async (text) => {
  if (text === 'round') {
    process.send?.(await round(slot));
  } else {
    await close();
    process.disconnect?.();
  }
});
process.send?.('ready');
