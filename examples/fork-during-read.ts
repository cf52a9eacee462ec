// A process forks while a disk reads into its memory.
//
// fork shares every page read-only until somebody writes. When the parent writes to a page that a
// device is filling, it gets a copy, and the device goes on filling the page that is the child's
// now: the parent has lost its data, without an error. Linux had that bug as long as O_DIRECT held
// pages by plain references, which look like anybody's. A pin is another count: fork sees it, and
// copies the page for the child at once. Both ways run here, on a real file, past the page cache
// where the file system allows it.
//
// Run: node examples/fork-during-read.ts

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BioOp, BvecTable, type Disk, HoldKind, IovIter, IterDirection } from '../src/bio.ts';
import { Arena, open } from '../src/index.ts';
import {
  PinFlag,
  Process,
  Protection,
  putUserPages,
  tryGetUserPages,
  UserMemory,
} from '../src/process.ts';

const PAGE = 4096;
const PAGES = 4;
const BYTES = PAGES * PAGE;
const ON_DISK = 0xd1;
const BEFORE = 0x0b;

/** As it should be: the read pins the pages of the program. */
function readPinned(disk: Disk, parent: Process, addr: number): Promise<number> {
  return parent.pread(parent.open(disk.device), addr, BYTES, 0);
}

/** As it was: plain references, and a list of pages for the device. */
async function readReferenced(disk: Disk, parent: Process, addr: number): Promise<number> {
  const pages = new Uint32Array(PAGES);
  const got = tryGetUserPages(parent.space, addr, PAGES, PinFlag.WRITE, pages, 0);
  const table = new BvecTable(PAGES);
  for (const [row, page] of pages.entries()) table.set(row, page, 0, PAGE, HoldKind.BORROWED);
  const iter = new IovIter();
  iter.initBvec(IterDirection.DEST, table, 0, got, 0, got * PAGE);
  const bytes = await new Promise<number>((resolve) => {
    disk.device.transfer(BioOp.READ, 0, iter, got * PAGE, {}, (_, result) => resolve(result));
  });
  putUserPages(pages, 0, got);
  return bytes;
}

async function run(title: string, disk: Disk, read: typeof readPinned): Promise<void> {
  using arena = new Arena({ maxBytes: 4 * 2 ** 20 });
  using memory = new UserMemory({ arena });
  using parent = new Process({ memory, label: 'parent' });
  const addr = parent.space.mmap({
    bytes: BYTES,
    protection: Protection.READ | Protection.WRITE,
  });
  parent.space.write(addr, new Uint8Array(BYTES).fill(BEFORE));

  // A plug keeps the request from the disk, as a slow one would: its pages are held already.
  disk.device.queue.startPlug();
  const reading = read(disk, parent, addr);
  using child = parent.fork('child');
  parent.space.write(addr, Uint8Array.of(1)); // The parent's next write to the first page.
  disk.device.queue.finishPlug(false);
  disk.device.arm();
  const bytes = await reading;

  console.log(`${title}: ${bytes} bytes read`);
  for (const { label, space } of [parent, child]) {
    const seen = new Uint8Array(BYTES);
    space.read(addr, seen);
    const fromDisk = [0, 1, 2, 3].filter((page) => seen[page * PAGE + 100] === ON_DISK);
    console.log(`  ${label} sees the disk in pages: ${fromDisk.join(' ') || 'none'}`);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'biovec-example-'));
try {
  const path = join(folder, 'disk.img');
  writeFileSync(path, new Uint8Array(BYTES).fill(ON_DISK));
  await using disk = await open(path, { direct: true }).catch(() => open(path));
  await run('plain references', disk, readReferenced);
  await run('pins', disk, readPinned);
  disk.assertNothingOutstanding();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
