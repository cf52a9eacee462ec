import type { Region } from '../../memory/region.unsafe.ts';

/**
 * Intervals whose data lies in one piece, and whose metadata lies in one piece: what a kernel takes
 * in one call. One object serves many runs; it holds no memory.
 */
export class GuardRun {
  /** null: nothing was found that lies so. */
  data: Region | null = null;
  metadata: Region | null = null;
  /** Bytes in the region: the first interval's data, and the first record of metadata. */
  dataAt = 0;
  metadataAt = 0;
  /** Bytes from one interval to the next. */
  dataStride = 0;
  metadataStride = 0;
  intervalBytes = 0;
  /** Bytes of a record before the tuple; under the guard too. */
  prefixBytes = 0;
  count = 0;
  /** What the tags of the tuples are, or should be. */
  appTag = 0;
  /** Block of the first interval, whose lower bits are its ref tag. */
  block = 0;
  /** 1: the ref tag is one more for each interval; 0: it is that of `block` in all of them. */
  refStep = 0;
  /** Bits of the app tag that are compared, and whether the ref tag is. */
  appMask = 0;
  checksRef = false;
}
