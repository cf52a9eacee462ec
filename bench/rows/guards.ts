// Protection information in GB of data a second: tuples made and checked over scattered pages, in
// every format, at 512 and 4096 bytes an interval, and the ways to the guard. Beside each figure
// stand a copy of the same pages, and what Node and npm have: zlib.crc32 and @node-rs/crc32, which
// are another checksum, and the same guard by the fastest package. One process a case.

import { spawnSync } from 'node:child_process';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { generate } from '../../src/integrity/generate.ts';
import { integrityOfType, PiType } from '../../src/integrity/integrity-profile.ts';
import { PiWalk, type RowsAt } from '../../src/integrity/pi-walk.ts';
import { CheckFlag, PiCheck, PiFault, verify } from '../../src/integrity/verify.ts';
import { Arena } from '../../src/memory/arena.ts';
import type { ArenaBuffer } from '../../src/memory/arena-buffer.ts';
import { copyPages } from '../../src/memory/copy.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { CRC32_PEERS, type CrcPeer, peerOf } from '../crc-peers.ts';
import { printRow, SCALE } from '../row.ts';
import { type Summary, summarize } from '../stats.ts';

/**
 * A transfer of 32 KiB, whose pages are in the first cache as after a copy; and one that is not.
 */
const PAGES = 8;
const PAGES_WIDE = 128;
/** Short and many: on a busy machine some of them are not interrupted. */
const ROUNDS = 201;
const WARM_ROUNDS = 20;
const ROUND_BYTES = 2 * 2 ** 20 * SCALE;
/** Some are thirty times slower. */
const PEER_SHARE = 0.2;

/** How the guard is made: kernels on the arena, or plain code on adopted memory. */
const WAYS = ['wasm', 'plain'] as const;
type Way = (typeof WAYS)[number];
const CSUMS = ['crc16', 'crc64', 'ip'] as const;
type Kind = (typeof CSUMS)[number];

interface Case {
  readonly op: 'generate' | 'verify';
  readonly csum: Kind;
  readonly interval: number;
  readonly way: Way;
  /** GB/s, where one is set. */
  readonly target?: number;
}

const TARGETS: Readonly<Record<string, number>> = {
  'wasm crc16 512': 4.5,
  'wasm crc16 4096': 12,
  'wasm crc64 512': 3,
  'wasm crc64 4096': 3,
};

function casesOf(): Case[] {
  const cases: Case[] = [];
  for (const way of WAYS) {
    for (const csum of CSUMS) {
      for (const interval of [512, 4096]) {
        for (const op of way === 'plain' ? ['generate'] : ['generate', 'verify']) {
          const target = TARGETS[`${way} ${csum} ${interval}`];
          const base = { op: op as Case['op'], csum, interval, way };
          cases.push(target === undefined ? base : { ...base, target });
        }
      }
    }
  }
  return cases;
}

interface Figures {
  readonly ours: readonly number[];
  readonly wide: readonly number[];
  readonly copy: readonly number[];
  readonly peers: Readonly<Record<string, readonly number[]>>;
}

/** Rows of one page each, in no order. */
function scattered(buffer: ArenaBuffer, pages: number): RowsAt {
  const table = new BvecTable(pages);
  for (let i = 0; i < pages; i++) {
    table.set(i, buffer.page + ((i * 5) % pages), 0, 4096, HoldKind.BORROWED);
  }
  return { table, row: 0, done: 0, size: pages * 4096 };
}

/** Work on `pages` pages: ours, a copy of them, and a peer's interval by interval. */
interface Works {
  readonly ours: () => void;
  readonly copy: () => void;
  readonly peer: (peer: CrcPeer) => () => void;
}

function prepare({ op, csum, interval, way }: Case, pages: number): Works {
  const size = pages * 4096;
  const arena = new Arena({ maxBytes: 8 * 2 ** 20 });
  const buffer =
    way === 'plain' ? arena.adopt(new SharedArrayBuffer(size)) : arena.alloc(size, 'data');
  const copied = arena.alloc(size, 'copy');
  const records = arena.alloc((size / 512) * 16, 'records');
  for (let i = 0; i < size; i++) buffer.bytes[i] = Math.imul(i, 2654435761) >>> 24;
  const profile = integrityOfType({ type: PiType.TYPE1, csum, intervalBytes: interval }, 4096);
  const data = scattered(buffer, pages);
  const table = new BvecTable(1);
  const bytes = (size / interval) * profile.metadata_size;
  table.set(0, records.page, 0, bytes, HoldKind.BORROWED);
  const metadata: RowsAt = { table, row: 0, done: 0, size: bytes };
  const walk = new PiWalk();
  const check = new PiCheck();
  check.flags = CheckFlag.GUARD | CheckFlag.REF;
  const fault = new PiFault();
  walk.startSeparate(profile, data, metadata);
  generate(walk, profile, 0);
  const ours = (): void => {
    walk.startSeparate(profile, data, metadata);
    if (op === 'generate') generate(walk, profile, 0);
    else if (verify(walk, profile, check, fault) !== 0) throw new Error('bench: a bad block');
  };
  const { page } = data.table;
  const copy = (): void => {
    for (let i = 0; i < pages; i++) copyPages(copied.page + i, 0, page[i] as number, 0, 4096);
  };
  const plain = new Uint8Array(buffer.bytes);
  const views = Array.from({ length: size / interval }, (_, i) =>
    plain.subarray(i * interval, (i + 1) * interval),
  );
  const peer = (one: CrcPeer) => (): void => {
    for (const view of views) one.run(view);
  };
  return { ours, copy, peer };
}

async function measure(value: Case): Promise<Figures> {
  const { ours, copy, peer } = prepare(value, PAGES);
  const wide = prepare(value, PAGES_WIDE);
  const same = await peerOf(value.csum);
  const peers = same === null ? CRC32_PEERS : [...CRC32_PEERS, same];
  const rates: Record<string, readonly number[]> = {};
  const figures = {
    ours: rate(ours, PAGES),
    wide: rate(wide.ours, PAGES_WIDE),
    copy: rate(copy, PAGES),
  };
  for (const one of peers) rates[one.name] = rate(peer(one), PAGES, PEER_SHARE);
  return { ...figures, peers: rates };
}

/** GB/s, one for each round; the first rounds train the compiler. */
function rate(work: () => void, pages: number, share = 1): number[] {
  const passes = Math.max(1, Math.round((ROUND_BYTES * share) / (pages * 4096)));
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS + WARM_ROUNDS; round++) {
    const start = performance.now();
    for (let i = 0; i < passes; i++) work();
    rounds.push((passes * pages * 4096) / (performance.now() - start) / 1e6);
  }
  return rounds.slice(WARM_ROUNDS);
}

function figuresOf(index: number): Figures {
  const flags = process.argv.filter((arg) => arg === '--quick');
  const args = [import.meta.filename, `--case=${index}`, ...flags];
  const run = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`bench: case ${index} failed`);
  return JSON.parse(run.stdout) as Figures;
}

const rounded = ({ median }: Summary): number => Number(median.toFixed(2));
const cases = casesOf();
const chosen = process.argv.find((arg) => arg.startsWith('--case='));
if (chosen !== undefined) {
  process.stdout.write(JSON.stringify(await measure(cases[Number(chosen.slice(7))] as Case)));
} else {
  for (const [index, { op, csum, interval, way, target }] of cases.entries()) {
    const figures = figuresOf(index);
    const ours = summarize(figures.ours);
    const notes = {
      best: Number(ours.max.toFixed(2)),
      'over 512 KiB': rounded(summarize(figures.wide)),
      'copy of the same pages': rounded(summarize(figures.copy)),
      ...Object.fromEntries(
        Object.entries(figures.peers).map(([name, rates]) => [name, rounded(summarize(rates))]),
      ),
    };
    const name = `pi-${op}-${csum}-${interval}${way === 'wasm' ? '' : `-${way}`}`;
    const row = { name, unit: 'GB/s', ours, notes };
    printRow(target === undefined ? row : { ...row, target });
  }
}
