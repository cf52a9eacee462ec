// `node --expose-gc src/dma/dma.bench.ts [case segments]`: a request to device ranges and back, of
// 1, 32 and 256 scattered pages, in bios of at most 64 rows; ns per request and per segment,
// minimum and median of 31 rounds, and bytes allocated a request. One process per case: without a
// name, every case is started in a process of its own.

import { spawnSync } from 'node:child_process';
import { argv, execPath } from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { addSegment } from '../bio/bio-add.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { DEFAULT_LIMITS, makeLimits } from '../limits/limits.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import { Request } from '../queue/request.ts';
import { CoherentPages } from './coherent-pages.ts';
import { DmaDevice, type DmaDeviceOptions } from './dma-device.ts';
import { DmaIter, mapRequest } from './dma-iter.ts';
import { DmaList } from './dma-list.ts';
import { DmaDir } from './dma-status.ts';
import { Iommu } from './iommu.ts';
import { NvmePointer } from './nvme-pointer.ts';
import { buildPrp, PRP_LIMITS } from './nvme-prp.ts';
import { mapRequestSg } from './request-sg.ts';
import { SgList, SgPool } from './sg-list.ts';
import { Swiotlb } from './swiotlb.ts';

const ROUNDS = 31;
const SEGMENTS_MAX = 256;
const BIO_ROWS = 64;
const LIMITS = makeLimits({ ...DEFAULT_LIMITS, max_segments: SEGMENTS_MAX });

const arena = new Arena({ maxBytes: 64 * MIB });
const bios = new BioPool({ bios: 64, rows: 4096 });
const flat = Array.from({ length: 2 * SEGMENTS_MAX }, () => arena.getFolio(0));

/** Pages backwards, every second one: none touches the next. */
function requestOf(segments: number): Request {
  const request = new Request();
  for (let done = 0; done < segments; done += BIO_ROWS) {
    const rows = Math.min(BIO_ROWS, segments - done);
    const bio = bios.acquire(BioOp.WRITE, (done * PAGE_BYTES) / 512, rows) as Bio;
    for (let i = 0; i < rows; i++) {
      const page = flat[2 * SEGMENTS_MAX - 1 - 2 * (done + i)];
      addSegment(bio, page, 0, PAGE_BYTES, HoldKind.BORROWED);
    }
    if (request.bioTail === null) {
      request.start(0, bio, segments);
    } else {
      request.bioTail.next = bio;
      request.bioTail = bio;
      request.bytes += bio.size;
    }
  }
  return request;
}

function deviceOf(kind: string): DmaDevice {
  const wide: DmaDeviceOptions = { segBytesMax: 2 ** 32 - 1, minAlignMask: 4095 };
  if (kind === 'iommu') return new DmaDevice({ ...wide, iommu: new Iommu() });
  if (kind !== 'bounced') return new DmaDevice(wide);
  const swiotlb = new Swiotlb(arena, 4 * MIB);
  // With "cache lines" of two pages every page shares one with somebody, so all of them bounce.
  return new DmaDevice({ ...wide, swiotlb, isCoherent: false, cacheLineBytes: 2 * PAGE_BYTES });
}

function listCase(kind: string, segments: number, hasPrp: boolean): () => void {
  const device = deviceOf(kind);
  const request = requestOf(segments);
  const pool = new SgPool({ chunks: 8 });
  const list = new SgList(pool);
  const out = new DmaList(SEGMENTS_MAX);
  const pointer = new NvmePointer(new CoherentPages(device, arena, 4), 2);
  const dir = kind === 'bounced' ? DmaDir.BIDIRECTIONAL : DmaDir.TO_DEVICE;
  return () => {
    list.acquire(segments);
    const nents = mapRequestSg(request, LIMITS, list);
    if (device.mapSg(list, nents, dir, out) <= 0) throw new Error('a bench that maps nothing');
    if (hasPrp) {
      buildPrp(pointer, out, PRP_LIMITS);
      pointer.release();
    }
    device.unmapSg(list, nents, out);
    list.release();
  };
}

function iterCase(kind: string, segments: number): () => void {
  const device = deviceOf(kind);
  const request = requestOf(segments);
  const iter = new DmaIter();
  const out = new DmaList(SEGMENTS_MAX);
  return () => {
    if (mapRequest(iter, device, request, LIMITS, out) <= 0) throw new Error('nothing is mapped');
    device.unmap(out);
  };
}

const CASES: Readonly<Record<string, (segments: number) => () => void>> = {
  'direct, list': (segments) => listCase('direct', segments, false),
  'iommu, list': (segments) => listCase('iommu', segments, false),
  'iommu, list, prp': (segments) => listCase('iommu', segments, true),
  'bounced, list': (segments) => listCase('bounced', segments, false),
  'direct, iterator': (segments) => iterCase('direct', segments),
  'iommu, iterator': (segments) => iterCase('iommu', segments),
};

/** Every case as 'iommu, list'. */
export const DMA_CASES = Object.keys(CASES);
export const SEGMENT_COUNTS = [1, 32, 256];

export interface DmaFigure {
  readonly name: string;
  readonly segments: number;
  /** Nanoseconds a request, one for each round. */
  readonly rounds: readonly number[];
  /** Bytes on the heap that a request leaves: the middle of the rounds. */
  readonly bytesPerRequest: number;
}

function measure(name: string, segments: number, roundCount = ROUNDS): DmaFigure {
  const call = CASES[name]?.(segments);
  if (call === undefined) throw new Error(`bench: no case '${name}'`);
  const calls = Math.ceil(40_000 / segments);
  const rounds: number[] = [];
  const bytes: number[] = [];
  for (let round = 0; round < roundCount; round++) {
    globalThis.gc?.();
    // Twice, the first time without a call: what the measuring itself allocates is not counted.
    const own = heapGrowth(call, 0);
    const start = performance.now();
    const grown = heapGrowth(call, calls);
    rounds.push(((performance.now() - start) * 1e6) / calls);
    bytes.push(grown - own);
  }
  bytes.sort((a, b) => a - b);
  return { name, segments, rounds, bytesPerRequest: (bytes[roundCount >> 1] ?? 0) / calls };
}

/** Bytes on the heap that `calls` calls leave. */
function heapGrowth(call: () => void, calls: number): number {
  const before = getHeapStatistics().used_heap_size;
  for (let i = 0; i < calls; i++) call();
  return getHeapStatistics().used_heap_size - before;
}

/** One case, in a process of its own. */
export function measureDma(name: string, segments: number, rounds = ROUNDS): DmaFigure {
  const numbers = [String(segments), String(rounds)];
  const args = ['--expose-gc', import.meta.filename, name, ...numbers, '--json'];
  const run = spawnSync(execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (run.status !== 0) throw new Error(`bench: '${name}' failed`);
  return JSON.parse(run.stdout) as DmaFigure;
}

function print({ name, segments, rounds, bytesPerRequest }: DmaFigure): void {
  const sorted = [...rounds].sort((a, b) => a - b);
  const [least = 0, middle = 0] = [sorted[0], sorted[sorted.length >> 1]];
  const columns = [least, middle, least / segments, bytesPerRequest].map((value) =>
    value.toFixed(1).padStart(9),
  );
  console.log(`${name.padEnd(20)} ${String(segments).padStart(4)} ${columns.join(' ')}`);
}

if (import.meta.main) {
  const [, , wanted, count, rounds = String(ROUNDS)] = argv;
  if (wanted !== undefined && count !== undefined) {
    const figure = measure(wanted, Number(count), Number(rounds) || ROUNDS);
    if (argv.includes('--json')) console.log(JSON.stringify(figure));
    else print(figure);
  } else {
    console.log(`${'case'.padEnd(20)} segs ns/request    median   ns/seg B/request`);
    for (const name of DMA_CASES) {
      for (const segments of SEGMENT_COUNTS) print(measureDma(name, segments));
    }
  }
}
