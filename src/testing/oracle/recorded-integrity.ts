import {
  type Csum,
  IntegrityFlag,
  type IntegrityProfile,
  NO_INTEGRITY,
  validateIntegrity,
} from '../../integrity/integrity-profile.ts';
import type { DeviceRecord } from './schema.ts';

/** What a replay knows of the metadata of a recorded device. */
export interface RecordedIntegrity {
  /** NO_INTEGRITY: none that the kernel knows of. */
  readonly profile: IntegrityProfile;
  /**
   * Payloads bear the flag of the IP checksum: 6.12 derives it from the format, on 6.1 the driver
   * says so, or does not.
   */
  readonly marksIp: boolean;
}

/** As sysfs shows it; the flags have other numbers on each kernel. */
interface IntegrityRecord {
  readonly flags: number;
  /** Bytes of metadata for an interval, of which the tuple may be a part. */
  readonly tupleSize: number;
  readonly intervalExp: number;
  readonly tagSize: number;
}

const NONE: RecordedIntegrity = { profile: NO_INTEGRITY, marksIp: false };

/** Linux 6.1: BLK_INTEGRITY_VERIFY, _GENERATE, _DEVICE_CAPABLE, _IP_CHECKSUM. */
const OLD_FLAG = { VERIFY: 1, GENERATE: 2, DEVICE_CAPABLE: 4, IP_CHECKSUM: 8 } as const;

/** Type 3 has the ref tag in its tag space, 4 bytes more than the app tag. */
const TYPE3_TAG_BYTES = 6;
/** The only recorded namespace whose tuple is not at the start of its metadata, and its place. */
const NVME_AT_END = { number: 8, piOffset: 8 } as const;
/** The only recorded namespace with guards of 64 bits. */
const NVME_CRC64 = 10;

/** `kernel`: as the record names it, '6.1.0-56-amd64'. */
export function recordedIntegrity(device: DeviceRecord, kernel: string): RecordedIntegrity {
  const record = device.limits.integrity as IntegrityRecord | null;
  if (record === null) return NONE;
  const isOld = kernel.startsWith('6.1.');
  const csum = csumOf(device.spec, record);
  const hasRef = csum !== 'none' && record.tagSize !== TYPE3_TAG_BYTES;
  const isAtEnd = csum !== 'none' && nvmeNumber(device.spec) === NVME_AT_END.number;
  const profile = validateIntegrity(
    {
      csum,
      interval_exp: record.intervalExp,
      metadata_size: record.tupleSize,
      pi_offset: isAtEnd ? NVME_AT_END.piOffset : 0,
      tag_size: record.tagSize,
      flags:
        (isOld ? flagsOfOld(record.flags) : record.flags) | (hasRef ? IntegrityFlag.REF_TAG : 0),
    },
    device.limits['logicalBlockSize'] as number,
  );
  const isStated = (record.flags & OLD_FLAG.IP_CHECKSUM) !== 0;
  return { profile, marksIp: isOld ? isStated : csum === 'ip' };
}

function flagsOfOld(flags: number): number {
  return (
    ((flags & OLD_FLAG.VERIFY) === 0 ? IntegrityFlag.NOVERIFY : 0) |
    ((flags & OLD_FLAG.GENERATE) === 0 ? IntegrityFlag.NOGENERATE : 0) |
    ((flags & OLD_FLAG.DEVICE_CAPABLE) === 0 ? 0 : IntegrityFlag.DEVICE_CAPABLE)
  );
}

/**
 * The guard is not in sysfs, but in how the device was made: `pi=` of the RAM disk has it in tens,
 * scsi_debug says `guard=1` for the IP checksum. A namespace without a tag has no tuple that its
 * kernel knows of.
 */
function csumOf(spec: string, record: IntegrityRecord): Csum {
  const pi = /\bpi=(\d+)/.exec(spec);
  if (pi !== null) return (['crc16', 'ip', 'crc64'] as const)[Math.floor(Number(pi[1]) / 10)];
  const number = nvmeNumber(spec);
  if (number === null) return /\bguard=1\b/.test(spec) ? 'ip' : 'crc16';
  if (record.tagSize === 0) return 'none';
  return number === NVME_CRC64 ? 'crc64' : 'crc16';
}

function nvmeNumber(spec: string): number | null {
  const found = /\bNVC:(\d+)/.exec(spec);
  return found === null ? null : Number(found[1]);
}
