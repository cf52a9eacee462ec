// ns per 4 KiB read through the bare engine: submit + reap, no queue, no device.
//   node src/engine/memory/ram-engine.bench.ts

import { PAGE_BYTES } from '../../base/units.ts';
import { addSegment } from '../../bio/bio-add.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { Arena } from '../../memory/arena.ts';
import { copyPages } from '../../memory/copy.ts';
import { HoldKind } from '../../memory/holds.ts';
import { RequestTable } from '../../queue/request-table.ts';
import type { Engine } from '../contract.ts';
import { openNullEngine } from './null-engine.ts';
import { openRamEngine } from './ram-engine.ts';

const DEPTH = 32;
const DISK_BYTES = 8 * 2 ** 20;
const ROUNDS = 25;
const READS = 200_000;

const arena = new Arena({ maxBytes: 32 * 2 ** 20, label: 'bench' });
const buffer = arena.alloc(DEPTH * PAGE_BYTES);
const source = arena.alloc(DISK_BYTES);
source.bytes.fill(7);

/** Minimum over the rounds, in ns per operation. */
function measure(round: () => void, operations: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    const start = performance.now();
    round();
    least = Math.min(least, performance.now() - start);
  }
  return (least * 1e6) / operations;
}

/** Pages that were never written all read as the host's one zero page, which stays in the cache. */
function fillDisk(engine: Engine, table: RequestTable, pool: BioPool): void {
  const tag = table.acquire();
  const bio = pool.acquire(BioOp.WRITE, 0, 1);
  if (bio === null) throw new Error('the pool is too small');
  addSegment(bio, source.page, 0, DISK_BYTES, HoldKind.BORROWED);
  table.at(tag).start(tag, bio, 1);
  engine.submit(Uint32Array.of(tag), 0, 1);
  engine.reap(new Uint32Array(1), 1);
  table.release(tag);
  pool.release(bio);
}

function readRound(engine: Engine): () => void {
  const table = new RequestTable(DEPTH);
  engine.attach(table);
  const pool = new BioPool({ bios: DEPTH, rows: DEPTH * 4 });
  fillDisk(engine, table, pool);
  const tags = new Uint32Array(DEPTH);
  const reaped = new Uint32Array(DEPTH);
  for (let i = 0; i < DEPTH; i++) {
    const bio = pool.acquire(BioOp.READ, 0, 1);
    if (bio === null) throw new Error('the pool is too small');
    addSegment(bio, buffer.page + i, 0, PAGE_BYTES, HoldKind.BORROWED);
    tags[i] = table.acquire();
    table.at(tags[i]).start(tags[i], bio, 1);
  }
  let position = 0;
  return () => {
    for (let i = 0; i < READS; i += DEPTH) {
      for (let k = 0; k < DEPTH; k++) {
        position = (position + 5 * PAGE_BYTES) % DISK_BYTES;
        table.at(tags[k]).sector = position / 512;
      }
      engine.submit(tags, 0, DEPTH);
      if (engine.reap(reaped, DEPTH) !== DEPTH) throw new Error('lost a completion');
    }
  };
}

function copyRound(): void {
  let page = 0;
  for (let i = 0; i < READS; i++) {
    page = (page + 5) % (DISK_BYTES / PAGE_BYTES);
    copyPages(buffer.page + (i % DEPTH), 0, source.page + page, 0, PAGE_BYTES);
  }
}

const defer = (): void => {};
const ram = openRamEngine({ sizeBytes: DISK_BYTES, defer });
const none = openNullEngine({ sizeBytes: DISK_BYTES, zero: false, defer });
const zeros = openNullEngine({ sizeBytes: DISK_BYTES, defer });
const rows: readonly (readonly [string, () => void])[] = [
  ['copyPages alone', copyRound],
  ['ram', readRound(ram)],
  ['null, zero: false', readRound(none)],
  ['null', readRound(zeros)],
];
const only = process.argv[2];
for (const [name, round] of rows) {
  if (only !== undefined && only !== name) continue;
  process.stdout.write(`${name}: ${measure(round, READS).toFixed(0)} ns per 4 KiB read\n`);
}
