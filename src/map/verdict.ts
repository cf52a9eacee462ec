/** What the submitter does with the memory of a transfer. */
export const Verdict = {
  /** The device gets the program's own pages. */
  MAP: 0,
  /** The device gets pages of the mapping; the submitter copies. */
  COPY: 1,
  /** `copy: 'never'` was asked for, and mapping would break a limit. */
  REFUSE: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Why. The order of the first eight is that of the tests in `decide`. */
export const MapReason = {
  /** Nothing stands against mapping. */
  FITS: 0,
  /** Memory that its owner can detach or resize while the device uses it. */
  DETACHABLE: 1,
  /** The caller asked for `copy: 'always'`. */
  ASKED: 2,
  /** The position on the device is no multiple of the logical block. */
  OFFSET: 3,
  /** The length is no multiple of the logical block. */
  LENGTH: 4,
  /** A memory address or length breaks dma_alignment. */
  ADDRESS: 5,
  /** Segments too small to cut a whole block out of max_segments of them. */
  SEGMENTS: 6,
  /** A gap at the virtual boundary leaves less than a block before it. */
  GAP: 7,
  /** Passthrough: the driver gave pages of its own, and data goes through them. */
  RESERVE: 8,
  /** Passthrough: memory that no program owns, so that nobody could pin it. */
  KERNEL: 9,
  /** Passthrough: longer than max_hw_sectors. No copy makes it shorter. */
  SIZE: 10,
  /** Metadata of a write: its ref tags become those of the device. */
  REF_TAGS: 11,
} as const;
export type MapReason = (typeof MapReason)[keyof typeof MapReason];

/** As counters and output name them. */
export const MAP_REASON_NAMES = [
  'fits',
  'detachable',
  'asked',
  'offset',
  'length',
  'address',
  'segments',
  'gap',
  'reserve',
  'kernel',
  'size',
  'ref-tags',
] as const;
export const MAP_REASONS = MAP_REASON_NAMES.length;

export const VERDICT_NAMES = ['map', 'copy', 'refuse'] as const;

export type CopyPolicy = 'auto' | 'never' | 'always';
