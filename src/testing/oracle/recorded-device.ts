import { Errno } from '../../base/errno.ts';
import { MIB } from '../../base/units.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import { fromEffective } from '../../limits/validate.ts';
import type { DeviceRecord, RequestRecord } from './schema.ts';

/** What a replay needs to know of a recorded device. */
export interface RecordedDevice {
  readonly limits: Limits;
  readonly sizeBytes: number;
  readonly scheduler: 'none' | 'mq-deadline';
  /** A request that covers this sector fails with a medium error; -1 = none. */
  readonly failSector: number;
  /** Its driver or controller may fail requests by rules of its own: take them from the record. */
  readonly hasOwnStatus: boolean;
}

/** blk_status_t that a recorded device gave, and what it is in a result. */
const STATUS_ERRNO: Readonly<Record<number, number>> = {
  1: Errno.EOPNOTSUPP,
  3: Errno.ENOSPC,
  7: Errno.ENODATA,
  8: Errno.EILSEQ,
};

/** 0 or -errno: how the device ended the first request of the case from `sector` on. */
export function recordedStatus(
  requests: readonly RequestRecord[],
  op: string,
  sector: number,
): number {
  const found = requests.find((request) => request.op === op && request.sector === sector);
  const status = found?.status ?? 0;
  return status === 0 ? 0 : -(STATUS_ERRNO[status] ?? Errno.EIO);
}

/**
 * Size of the recording's RAM disk: the end that every `align` case on it meets (the last
 * successful transfer ends at 67108864, the first refused one starts there).
 */
const RAM_DISK_BYTES = 64 * MIB;

/** The RAM disk's answer for its bad sector, BLK_STS_MEDIUM. */
export const MEDIUM_ERROR = -Errno.ENODATA;

/** Name in the record → name here. */
const NAMES: Readonly<Record<string, keyof LimitsInput>> = {
  logicalBlockSize: 'logical_block_size',
  physicalBlockSize: 'physical_block_size',
  maxHwSectors: 'max_hw_sectors',
  maxSectors: 'max_sectors',
  maxDevSectors: 'max_dev_sectors',
  chunkSectors: 'chunk_sectors',
  maxSegments: 'max_segments',
  maxSegmentSize: 'max_segment_size',
  segBoundaryMask: 'seg_boundary_mask',
  virtBoundaryMask: 'virt_boundary_mask',
  dmaAlignment: 'dma_alignment',
  dmaPadMask: 'dma_pad_mask',
  maxIntegritySegments: 'max_integrity_segments',
  ioMin: 'io_min',
  ioOpt: 'io_opt',
  nomerges: 'nomerges',
};

/** Throws BlockError EINVAL when the recorded limits contradict each other. */
export function recordedDevice(record: DeviceRecord, profile: Profile): RecordedDevice {
  const known = Object.entries(record.limits).filter(([name]) => NAMES[name] !== undefined);
  const input = Object.fromEntries(known.map(([name, value]) => [NAMES[name], value]));
  const words = record.spec.split(/\s+/);
  const fail = words.find((word) => word.startsWith('fail='));
  return {
    limits: fromEffective(input, profile),
    // The ends of the stock drivers' disks were not recorded, and no case reaches them.
    sizeBytes: words.includes('orc') ? RAM_DISK_BYTES : Number.MAX_SAFE_INTEGER,
    scheduler: record.scheduler.includes('[mq-deadline]') ? 'mq-deadline' : 'none',
    failSector: fail === undefined ? -1 : Number(fail.slice('fail='.length)),
    hasOwnStatus: !words.includes('orc'),
  };
}
