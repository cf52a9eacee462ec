// `node src/map/passthrough/map-or-copy.bench.ts CASE`: what it costs a submitter to show memory
// of a program to a device: mapped; copied page to page with the memory pinned; copied through its
// addresses without a pin. From `mapUser` to `unmapUser`, own pages and their clearing included,
// without a device. One process a case, so that reads do not train the compiler for writes.
//
// The same memory is used again and again, so it lies in the processor's caches as far as it fits:
// that is the best that a copy can have. Cold memory makes a copy dearer and a pin hardly.

import { spawnSync } from 'node:child_process';
import { argv, execPath } from 'node:process';
import { assert } from '../../base/assert.ts';
import { MIB, PAGE_BYTES } from '../../base/units.ts';
import { type Bio, BioState } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import { validateLimits } from '../../limits/validate.ts';
import { Access } from '../../memory/address-space.ts';
import { Arena } from '../../memory/arena.ts';
import { Protection } from '../../memory/user/area.ts';
import { UserMemory } from '../../memory/user/user-memory.ts';
import type { UserSpace } from '../../memory/user/user-space.ts';
import { Piece } from '../piece.ts';
import { pinRows, unpinRows } from '../user-rows.ts';
import type { CopyPolicy } from '../verdict.ts';
import { PassthroughChain } from './bio-chain.ts';
import { mapUser } from './map-user.ts';
import { type MapUserOptions, PassthroughContext } from './passthrough-context.ts';
import { PASSTHROUGH_RULES } from './passthrough-rules.ts';
import { unmapUser } from './unmap-user.ts';

/** How the memory of the program lies: pages of which no two are neighbours, or 2 MiB folios. */
const LAYOUTS = ['order-0', 'huge'] as const;
export const WAYS = ['map', 'pin and copy', 'copy'] as const;
export type Way = (typeof WAYS)[number];

/** Every case as 'read order-0'. */
export const MAP_OR_COPY_CASES = ['read', 'write'].flatMap((op) =>
  LAYOUTS.map((layout) => `${op} ${layout}`),
);
/** Ranges of memory in a request: one buffer, or a list of buffers that do not touch. */
const RANGE_COUNTS = [1, 16, 256];
const BYTES_MIN = 512;
const BYTES_MAX = 16 * MIB;
/** Pages: 16 MiB, and one between any two ranges. */
const PAGES = 4096 + 512;
/** Rows of a page each that a copy remembers at most (UIO_MAXIOV). */
const PINNED_BYTES_MAX = 1024 * PAGE_BYTES;
const LIMITS = validateLimits({
  max_hw_sectors: (2 * BYTES_MAX) / 512,
  max_segments: 65535,
  dma_alignment: 3,
});

/** Nanoseconds of a request of one size, by way, one value for each round. */
export interface SizeFigure {
  readonly bytes: number;
  readonly ns: Readonly<Record<Way, readonly number[]>>;
}

export interface MapOrCopyFigure {
  readonly name: string;
  readonly ranges: number;
  readonly sizes: readonly SizeFigure[];
}

/** Sizes that `ranges` of at least 512 bytes may have: powers of two. */
function sizesFor(ranges: number): number[] {
  const sizes: number[] = [];
  for (let bytes = BYTES_MIN * ranges; bytes <= BYTES_MAX; bytes *= 2) sizes.push(bytes);
  return sizes;
}

function makeSpace(layout: string): { readonly space: UserSpace; readonly addr: number } {
  const memory = new UserMemory({ arena: new Arena({ maxBytes: 64 * MIB, label: 'program' }) });
  const space = memory.newSpace('program');
  const folioOrder = layout === 'huge' ? 9 : 0;
  const addr = space.mmap({ bytes: PAGES * PAGE_BYTES, protection: Protection.WRITE, folioOrder });
  // The allocator hands out frames in a row: touched in another order they lie scattered.
  const step = layout === 'huge' ? 1 : 1237;
  for (let i = 0; i < PAGES; i++) {
    space.fault(addr + ((i * step) % PAGES) * PAGE_BYTES, Access.WRITE, 0);
  }
  return { space, addr };
}

/** One submitter: it maps, lets a device of no time at all have the memory, and unmaps. */
class Submitter {
  readonly #op: BioOp;
  readonly #context: Readonly<Record<'pinned' | 'address', PassthroughContext>>;
  readonly #options: Readonly<Record<Way, MapUserOptions>>;
  readonly #chain = new PassthroughChain(BioOp.READ);
  readonly #iter = new IovIter();
  readonly #rows = new IovIter();
  readonly #piece = new Piece();

  constructor(op: BioOp) {
    const folios = new Arena({ maxBytes: 64 * MIB, label: 'own' });
    const context = (copyBack: 'pinned' | 'address'): PassthroughContext => {
      const bios = new BioPool({ bios: 64, rows: 64 * 256 });
      const rules = { ...PASSTHROUGH_RULES.biovec, copyBack };
      return new PassthroughContext({ limits: LIMITS, folios, bios, rules });
    };
    this.#op = op;
    this.#context = { pinned: context('pinned'), address: context('address') };
    const options = (copyBack: 'pinned' | 'address', copy: CopyPolicy): MapUserOptions => ({
      context: this.#context[copyBack],
      copy,
    });
    this.#options = {
      map: options('pinned', 'never'),
      'pin and copy': options('pinned', 'always'),
      copy: options('address', 'always'),
    };
  }

  run(way: Way, space: UserSpace, iovec: Iovec): void {
    const isRead = this.#op === BioOp.READ;
    const iter = this.#iter;
    const options = this.#options[way];
    const chain = this.#chain;
    chain.reset(this.#op);
    iter.initUser(isRead ? IterDirection.DEST : IterDirection.SOURCE, space, iovec);
    if (way === 'pin and copy' && !isRead) this.#mapPinned(iter, options);
    else map(chain, iter, options);
    for (let bio: Bio | null = chain.bio; bio !== null; bio = bio.next) bio.state = BioState.ENDED;
    const error = unmapUser(chain.bio, options.context, { transferredBytes: chain.bytes });
    assert(error === 0, 'bench: not unmapped');
  }

  /** A write is copied at the call; here from pinned rows, 1024 at a time, instead of addresses. */
  #mapPinned(iter: IovIter, options: MapUserOptions): void {
    const piece = this.#piece;
    while (iter.count > 0) {
      const bytes = Math.min(iter.count, PINNED_BYTES_MAX);
      const pinned = pinRows(piece, iter, bytes, bytes);
      assert(pinned === bytes && piece.pins !== null, 'bench: memory is missing');
      this.#rows.initBvec(IterDirection.SOURCE, piece.pins, 0, piece.pinRows, 0, bytes);
      map(this.#chain, this.#rows, options);
      unpinRows(piece, 0);
    }
  }
}

function map(chain: PassthroughChain, iter: IovIter, options: MapUserOptions): void {
  const result = mapUser(chain, iter, options);
  assert(result === 0, 'bench: not mapped');
}

export interface MeasureOptions {
  readonly rounds: number;
  /** Milliseconds of one figure of one round. */
  readonly slice: number;
}

function measure(name: string, { rounds, slice }: MeasureOptions): MapOrCopyFigure[] {
  const [op, layout = ''] = name.split(' ');
  const { space, addr } = makeSpace(layout);
  const submitter = new Submitter(op === 'read' ? BioOp.READ : BioOp.WRITE);
  const figures = RANGE_COUNTS.map((ranges) => ({
    name,
    ranges,
    sizes: sizesFor(ranges).map((bytes) => {
      const ns: Record<Way, number[]> = { map: [], 'pin and copy': [], copy: [] };
      return { bytes, ns, iovec: iovecOf(addr, bytes, ranges) };
    }),
  }));
  // The first rounds train the compiler. Ways take turns, so that a noisy moment meets all of them.
  for (let round = -2; round < rounds; round++) {
    for (const { sizes } of figures) {
      for (const { ns, iovec } of sizes) {
        for (const way of WAYS) {
          const time = timeOf(() => submitter.run(way, space, iovec), slice);
          if (round >= 0) ns[way].push(time);
        }
      }
    }
  }
  return figures.map(({ ranges, sizes }) => ({
    name,
    ranges,
    sizes: sizes.map(({ bytes, ns }) => ({ bytes, ns })),
  }));
}

/** `bytes` in `ranges` of equal length, each on a page of its own, with a page between. */
function iovecOf(addr: number, bytes: number, ranges: number): Iovec {
  const iovec = new Iovec(ranges);
  const len = bytes / ranges;
  const apart = (Math.ceil(len / PAGE_BYTES) + (ranges > 1 ? 1 : 0)) * PAGE_BYTES;
  const bases = Array.from({ length: ranges }, (_, i) => addr + i * apart);
  const lens = bases.map(() => len);
  assert(iovec.importRanges(bases, lens, ranges) === bytes, 'bench: no such memory');
  return iovec;
}

/** Nanoseconds of a call, over as many calls as `slice` milliseconds hold. */
function timeOf(call: () => void, slice: number): number {
  const start = performance.now();
  call();
  const calls = Math.max(Math.min(Math.floor(slice / (performance.now() - start)), 20_000), 1);
  const again = performance.now();
  for (let i = 0; i < calls; i++) call();
  return ((performance.now() - again) * 1e6) / calls;
}

/** One case, in a process of its own. */
export function measureMapOrCopy(name: string, options: MeasureOptions): MapOrCopyFigure[] {
  const args = [import.meta.filename, name, String(options.rounds), String(options.slice)];
  const run = spawnSync(execPath, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 16 * MIB,
  });
  if (run.status !== 0) throw new Error(`bench: '${name}' failed`);
  return JSON.parse(run.stdout) as MapOrCopyFigure[];
}

if (import.meta.main) {
  const [, , name, rounds = '9', slice = '1'] = argv;
  const options = { rounds: Number(rounds), slice: Number(slice) };
  if (name !== undefined) console.log(JSON.stringify(measure(name, options)));
  else console.error(`cases: ${MAP_OR_COPY_CASES.join(', ')}; rounds; milliseconds a figure`);
}
