import { BlockError } from '../base/block-error.ts';

/**
 * Where kernels differ on the same input, as named behaviours: a recorded case is replayed under
 * the profile of its kernel, everything else runs under DEFAULT_PROFILE. "Item" is the numbered
 * item of "Behaviour worth knowing" in the oracle's README that shows it.
 */
export interface Profile {
  readonly name: ProfileName;
  /** One extract call may run over several iovecs; else it stops at the end of each. Item 5. */
  readonly gatherCrossesSegments: boolean;
  /** What the 256 of a bio counts while gathering: built vecs, or pages. Item 5. */
  readonly gatherUnit: 'vecs' | 'pages';
  /** Each gather step is trimmed to the logical block; else once, on the built bio. Items 5, 8. */
  readonly trimEachGather: boolean;
  /** What the offset of a vec counts from: its first page, or the head of its folio. Item 2. */
  readonly bvecBase: 'page' | 'folio';
  /** A registered buffer has one vec a page, or one a folio (2 MiB if huge). Item 15. */
  readonly fixedVecs: 'page' | 'folio';
  /** A split that rounds down to no block: -EINVAL, the rest goes whole, or BUG_ON. Item 1. */
  readonly subBlockSplit: 'error' | 'unsplit' | 'bug';
  /** dma_alignment 0 takes any address, or means "not set" and becomes 511. Item 16. */
  readonly dmaAlignmentZero: 'any' | '511';
  /** Order in which a plug that is full or at its end issues requests. Item 6. */
  readonly plugOrder: 'fifo' | 'lifo';
  /** Sectors. Cap of max_sectors that nobody set. Recorded limits of `u20` and `vb256`. */
  readonly softCapSectors: number;
  /**
   * Metadata segments of a request: those that it has, or those of every bio that was tried, and
   * once more of those that joined: it is full too early. Cases `merge-m14-*`.
   */
  readonly metadataCount: 'exact' | 'attempts';
}

export type ProfileName = 'biovec' | 'linux-6.1' | 'linux-6.12';

/** This library, and mainline 7.1 wherever that has settled the question. */
export const DEFAULT_PROFILE: Profile = Object.freeze({
  name: 'biovec',
  gatherCrossesSegments: true,
  gatherUnit: 'vecs',
  trimEachGather: false,
  bvecBase: 'page',
  fixedVecs: 'folio',
  subBlockSplit: 'error',
  dmaAlignmentZero: 'any',
  plugOrder: 'fifo',
  softCapSectors: 8192, // 4 MiB.
  metadataCount: 'exact',
});

export const LINUX_6_1: Profile = Object.freeze({
  name: 'linux-6.1',
  gatherCrossesSegments: false,
  gatherUnit: 'pages',
  trimEachGather: true,
  bvecBase: 'page',
  fixedVecs: 'page',
  subBlockSplit: 'bug',
  dmaAlignmentZero: 'any',
  plugOrder: 'lifo',
  softCapSectors: 2560, // 1280 KiB.
  metadataCount: 'attempts',
});

export const LINUX_6_12: Profile = Object.freeze({
  name: 'linux-6.12',
  gatherCrossesSegments: false,
  gatherUnit: 'pages',
  trimEachGather: true,
  bvecBase: 'folio',
  fixedVecs: 'folio',
  subBlockSplit: 'unsplit',
  dmaAlignmentZero: '511',
  plugOrder: 'fifo',
  softCapSectors: 2560,
  metadataCount: 'exact',
});

export const PROFILES: readonly Profile[] = [DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12];

/** Throws BlockError EINVAL that lists the names. */
export function profileNamed(name: string): Profile {
  const profile = PROFILES.find((candidate) => candidate.name === name);
  if (profile !== undefined) return profile;
  const names = PROFILES.map((candidate) => candidate.name).join(', ');
  throw new BlockError('EINVAL', { reason: `profile '${name}' is none of ${names}` });
}
