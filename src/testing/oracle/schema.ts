import { BlockError } from '../../base/block-error.ts';

// The record of a kernel, as the files under test/oracle/ hold it (schema "block-oracle/1"; its
// README there explains every field). Only what a replay reads is spelled out.

export const RECORD_SCHEMA = 'block-oracle/1';

/** Physical pages in order, run by run: first frame number and count. */
export type PageRuns = readonly (readonly [pfn: number, count: number])[];

/** One vector of the program. */
export interface IovRecord {
  /** One of `KINDS`. */
  readonly kind: string;
  /** Its address modulo 4096. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  readonly pages: PageRuns;
  /** Index of a page that was taken away after the frame numbers had been read. */
  readonly holePage?: number;
}

/** Frame number, offset, bytes; a 4th number k: the vec names the page k pages before. */
export type VecRecord = readonly number[];

export interface BioRecord {
  readonly op: string;
  readonly sector: number;
  readonly bytes: number;
  readonly vecs: readonly VecRecord[];
  /** Read-ahead and buffered fallback: not from the program's memory. */
  readonly fromPageCache?: boolean;
}

/** Protection information of one bio: as it was issued, or as the device gave it back. */
export interface PiRecord {
  /** Ref tag of the first interval, before its lower bits are taken. */
  readonly seed: number;
  /** Of metadata. */
  readonly bytes: number;
  /** PayloadFlag, with the numbers of the kernels. */
  readonly flags: number;
  /** Memory of the kernel, which is an input, or a program's own that was mapped. */
  readonly vecs: readonly VecRecord[];
  /** Hexadecimal. */
  readonly tuples?: string;
}

export interface RequestRecord {
  readonly op: string;
  readonly sector: number;
  readonly bytes: number;
  readonly nrPhysSegments: number;
  /** blk_status_t. Left out: the driver issued the request before it once more. */
  readonly status?: number;
  /** Sector, bytes and number of vecs of each bio. */
  readonly bios: readonly (readonly number[])[];
  /** Physical address and bytes of each scatterlist entry. */
  readonly sg: readonly (readonly number[])[];
  /** Segments of metadata, as limits count them; left out for none. */
  readonly nrIntegritySegments?: number;
  /** Of each bio, with the ref tags of the submitter; of a read without tuples. */
  readonly pi?: readonly PiRecord[];
  /** The same with the ref tags of the device. */
  readonly driverPi?: readonly PiRecord[];
  /** What the device answered to a read. */
  readonly deviceTuples?: readonly PiRecord[];
  /** Physical address and bytes of each scatterlist entry of the metadata. */
  readonly integritySg?: readonly (readonly number[])[];
}

/** What a whole transfer holds: a pattern by its number, then bytes changed by XOR. */
export interface DataRecord {
  readonly fill: number;
  readonly flips?: readonly (readonly [byte: number, mask: number])[];
}

export interface ResultRecord {
  /** Bytes or submitted iocbs; -1 with `errno`. */
  readonly ret?: number;
  readonly errno?: number;
  /** `fixed`: bytes or -errno, as in the completion queue entry. */
  readonly res?: number;
  /** `merge`: bytes or -errno of each iocb. */
  readonly results?: readonly number[];
  readonly dataOk?: boolean | null;
  /** The kernel died; there are no bios and requests. */
  readonly crash?: string;
}

export interface Outcome {
  readonly result: ResultRecord;
  readonly bios: readonly BioRecord[];
  readonly events: readonly string[];
  readonly requests: readonly RequestRecord[];
}

interface CaseHead extends Outcome {
  readonly id: string;
  readonly device: string;
  readonly bootDependent?: boolean;
  /** The frame numbers under the vectors are lost. */
  readonly pagesUnknown?: boolean;
}

/** One preadv2 or pwritev2. */
export interface TransferCase extends CaseHead {
  readonly op: 'read' | 'write';
  readonly fileOffset: number;
  readonly rwf: number;
  readonly iov: readonly IovRecord[];
  /** On devices with metadata, where it is known. */
  readonly data?: DataRecord;
}

/** One io_submit of several iocbs. */
export interface AioCase extends CaseHead {
  readonly op: 'aio';
  readonly submits: readonly {
    readonly op: 'read' | 'write';
    readonly fileOffset: number;
    readonly iov: readonly IovRecord[];
  }[];
}

/** One io_uring READ_FIXED or WRITE_FIXED on a part of the registered buffer `iov[0]`. */
export interface FixedCase extends CaseHead {
  readonly op: 'fixed';
  readonly write: boolean;
  readonly fileOffset: number;
  readonly bufferOffset: number;
  readonly length: number;
  readonly iov: readonly IovRecord[];
}

export type ReplayableCase = TransferCase | AioCase | FixedCase;
export type CaseRecord = ReplayableCase | (CaseHead & { readonly op: string });

export interface DeviceRecord {
  /** How the device was made: `dev NAME KIND key=value …`. */
  readonly spec: string;
  /** As sysfs shows it: the scheduler in use stands in brackets, if there are several. */
  readonly scheduler: string;
  readonly limits: { readonly integrity: object | null } & Readonly<Record<string, unknown>>;
}

export interface RecordFile {
  readonly schema: string;
  readonly topic: string;
  readonly kernel: string;
  readonly devices: Readonly<Record<string, DeviceRecord>>;
  readonly cases: readonly CaseRecord[];
}

/** Checksums are of bytes alone. */
const WITHOUT_DEVICE: readonly string[] = ['crc'];

/** Throws BlockError EINVAL, naming `path`, for text that is no record. */
export function parseRecord(text: string, path: string): RecordFile {
  let file: Partial<RecordFile> | null;
  try {
    file = JSON.parse(text) as Partial<RecordFile> | null;
  } catch (cause) {
    throw new BlockError('EINVAL', { reason: `${path} is no JSON`, cause });
  }
  if (file?.schema !== RECORD_SCHEMA) {
    const reason = `${path} does not have the schema ${RECORD_SCHEMA}`;
    throw new BlockError('EINVAL', { reason });
  }
  if (!Array.isArray(file.cases) || typeof file.devices !== 'object' || file.kernel === undefined) {
    throw new BlockError('EINVAL', { reason: `${path} has no cases, devices or kernel` });
  }
  const devices = file.devices;
  const lost = file.cases.find((one) => !WITHOUT_DEVICE.includes(one.op) && !devices[one.device]);
  if (lost !== undefined) {
    const reason = `${path}: case ${lost.id} runs on ${lost.device}, which is no device there`;
    throw new BlockError('EINVAL', { reason });
  }
  return file as RecordFile;
}

/** The vectors of a case, in order. */
export function vectorsOf(one: CaseRecord): readonly IovRecord[] {
  if ('submits' in one) return one.submits.flatMap((submit) => submit.iov);
  return 'iov' in one ? one.iov : [];
}

/**
 * 'pool' and 'anon': single pages; 'huge': folios of 2 MiB; 'readonly': mapped for reading only.
 * The others have a page that is absent (`holePage`), or none: 'null' is address 0, and
 * 'kernel-address' lies beyond what a program can have.
 */
const KINDS: readonly string[] = [
  'pool',
  'huge',
  'anon',
  'anon-unmapped',
  'readonly',
  'null',
  'kernel-address',
];

/** Why no replay stands for the case, or null. */
export function whyNotCovered(one: CaseRecord): string | null {
  if (!isReplayable(one)) return `op ${one.op}`;
  const strange = vectorsOf(one).find(({ kind }) => !KINDS.includes(kind));
  return strange === undefined ? null : `memory of kind ${strange.kind}`;
}

export function isReplayable(one: CaseRecord): one is ReplayableCase {
  return one.op === 'read' || one.op === 'write' || one.op === 'aio' || one.op === 'fixed';
}
