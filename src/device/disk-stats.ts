import type { MapCounters } from '../map/map-counters.ts';
import type { BlockDevice } from './block-device.ts';

/** What moved and how, since the disk was opened. Bytes of user data. */
export interface DiskStats {
  readonly transfers: number;
  readonly bytesMapped: number;
  readonly bytesCopied: number;
  /** By reason: detachable, asked, offset, length, address, segments, gap. */
  readonly copiedByReason: Readonly<Record<string, number>>;
  readonly bytesReadBeforeWrite: number;
  readonly bios: number;
  readonly requests: number;
  readonly splits: number;
  readonly merges: number;
  /** Short transfers that were continued. */
  readonly requeues: number;
  readonly pagesHeld: number;
  readonly pagesHeldMost: number;
  readonly bouncePages: number;
  readonly bouncePagesMost: number;
  /** Buffers that were detached or resized in flight. */
  readonly detached: number;
  /** Beside the data; all 0 where the target keeps none. */
  readonly metadata: MetadataStats;
}

/** Bytes of metadata. */
export interface MetadataStats {
  /** Of programs, by their own pages. */
  readonly bytesMapped: number;
  readonly bytesCopied: number;
  /** By reason: detachable, asked, address, segments, gap, ref-tags. */
  readonly copiedByReason: Readonly<Record<string, number>>;
  /** Made here for a write. */
  readonly bytesGenerated: number;
  /** Checked here. */
  readonly bytesVerified: number;
  /** Transfers of a bio that did not match, each counted once. */
  readonly faults: number;
  /** Times that a bio waited for room. */
  readonly waits: number;
}

export function statsOf(device: BlockDevice): DiskStats {
  const { counters, queue } = device;
  const copiedByReason = counters.copiedByReason();
  return {
    transfers: counters.transfers,
    bytesMapped: counters.bytesMapped,
    bytesCopied: sumOf(copiedByReason),
    copiedByReason,
    bytesReadBeforeWrite: counters.bytesReadBeforeWrite,
    bios: queue.counters.bios,
    requests: queue.counters.requests,
    splits: queue.counters.splits,
    merges: queue.counters.merges,
    requeues: queue.counters.requeues,
    pagesHeld: counters.pagesHeld,
    pagesHeldMost: counters.pagesHeldMost,
    bouncePages: counters.bouncePages,
    bouncePagesMost: counters.bouncePagesMost,
    detached: counters.detached,
    metadata: metadataStatsOf(device),
  };
}

function metadataStatsOf({ metadata, integrity }: BlockDevice): MetadataStats {
  const own = integrity?.counters;
  const counters: MapCounters | undefined = metadata?.counters;
  const copiedByReason = counters?.copiedByReason() ?? {};
  return {
    bytesMapped: counters?.bytesMapped ?? 0,
    bytesCopied: sumOf(copiedByReason),
    copiedByReason,
    bytesGenerated: own?.bytesGenerated ?? 0,
    bytesVerified: own?.bytesVerified ?? 0,
    faults: own?.faults ?? 0,
    waits: own?.payloadWaits ?? 0,
  };
}

function sumOf(bytes: Readonly<Record<string, number>>): number {
  return Object.values(bytes).reduce((sum, more) => sum + more, 0);
}
