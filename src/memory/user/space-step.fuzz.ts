// The steps of a random life of processes, and the machine that it happens on.

import fc from 'fast-check';
import { PAGE_BYTES } from '../../base/units.ts';

/** Addresses of the game: 20 pages that lie in two leaves of the page table. */
export const BASE = 4 * 2 ** 20 + 504 * PAGE_BYTES;
export const PAGES = 20;
export const SPACES_MAX = 4;
export const FILE_PAGES = 6;

/** How often each step comes, against the others. */
const WEIGHTS = {
  mapPrivate: 2,
  mapShared: 1,
  mapFile: 1,
  mapFileShared: 1,
  mapHuge: 1,
  munmap: 1,
  mprotect: 2,
  mremap: 1,
  fork: 3,
  forkShort: 1,
  exit: 1,
  write: 10,
  read: 6,
  clear: 1,
  reclaim: 4,
  migrate: 3,
  hint: 2,
  merge: 2,
  movePage: 1,
  pinWrite: 4,
  pinRead: 3,
  device: 4,
  unpin: 3,
  get: 1,
  put: 1,
  sync: 2,
  truncate: 1,
  retry: 1,
  poison: 1,
} as const;
export type StepKind = keyof typeof WEIGHTS;
const KINDS = Object.entries(WEIGHTS).flatMap(([kind, weight]) =>
  new Array<StepKind>(weight).fill(kind as StepKind),
);

export interface Step {
  readonly kind: StepKind;
  readonly who: number;
  readonly at: number;
  readonly pages: number;
  readonly offset: number;
  readonly value: number;
}

export const STEP: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  who: fc.nat(SPACES_MAX - 1),
  at: fc.nat(PAGES - 1),
  pages: fc.integer({ min: 1, max: 6 }),
  offset: fc.oneof(fc.nat(40), fc.integer({ min: PAGE_BYTES - 20, max: PAGE_BYTES - 1 })),
  value: fc.nat(255),
});

export interface RunOptions {
  readonly frames: number;
  readonly swapPages: number;
  readonly movableFrom: number | null;
}

export const RUN_OPTIONS: fc.Arbitrary<RunOptions> = fc.record({
  frames: fc.constantFrom(24, 48, 160),
  swapPages: fc.constantFrom(0, 6, 64),
  movableFrom: fc.constantFrom(null, 12),
});
