import type { NvmeMetadata } from './integrity-schema.ts';
import type { DeviceRecord, IovRecord, PiRecord, VecRecord } from './schema.ts';

// Memory mapped into passthrough requests: topic `map`, and with metadata topic `integrity`. Only
// what a replay reads.

export interface MappedBioRecord {
  readonly bytes: number;
  readonly copied: boolean;
  readonly vecs: readonly VecRecord[];
}

export interface MappedRequestRecord {
  readonly bytes: number;
  readonly nrPhysSegments: number;
  readonly bios: readonly MappedBioRecord[];
  /** Physical address and bytes of each scatterlist entry. */
  readonly sg: readonly (readonly number[])[];
  /** Metadata of a program, one a bio. */
  readonly pi?: readonly PiRecord[];
  readonly nrIntegritySegments?: number;
  readonly integritySg?: readonly (readonly number[])[];
}

interface MappedCaseHead {
  readonly id: string;
  readonly device: string;
  readonly write: boolean;
  readonly iov: readonly IovRecord[];
  readonly decision: 'map' | 'copy' | 'mixed' | 'none' | 'error';
  readonly request?: MappedRequestRecord;
  readonly bootDependent?: boolean;
}

/** blk_rq_map_user_io(), the command, blk_rq_unmap_user(). */
export interface MapCase extends MappedCaseHead {
  readonly op: 'map';
  /** A list of `niov` vectors, or one buffer of `bufLen` bytes. */
  readonly vec: boolean;
  readonly bufLen: number;
  readonly niov: number;
  /** 1: a list without a byte is -EINVAL. */
  readonly checkCount: number;
  readonly result: { readonly ret: number; readonly unmapRet: number };
}

/** ioctl SG_IO on a block device, or on the file of the generic driver. */
export interface SgioCase extends MappedCaseHead {
  readonly op: 'sgio';
  readonly via: 'block' | 'sg';
  readonly iovecCount: number;
  readonly dxferLen: number;
  readonly sgFlags: number;
  readonly result: {
    readonly ret: number;
    readonly errno: number;
    readonly resid: number;
    readonly info: number;
  };
}

/** NVMe passthrough. Metadata has the last vector. */
export interface NvmeCase extends MappedCaseHead, NvmeMetadata {
  readonly op: 'nvme';
  readonly vec: boolean;
  readonly dataLen: number;
  /** `ret` > 0: the status of the command. */
  readonly result: { readonly ret: number; readonly errno: number };
}

export type PassthroughCase = MapCase | SgioCase | NvmeCase;

/** A record file of topic `map`. */
export interface PassthroughFile {
  readonly topic: string;
  readonly kernel: string;
  readonly devices: Readonly<Record<string, DeviceRecord>>;
  readonly cases: readonly PassthroughCase[];
}

/** What is compared, of the kernel and of this library. */
export interface PassthroughOutcome {
  /** 0 or -errno of the call that mapped, then of the one that unmapped. */
  readonly result: number;
  readonly unmapResult: number;
  readonly decision: PassthroughCase['decision'];
  /** null: nothing was sent. */
  readonly request: MappedRequestRecord | null;
  /** null: the command has no metadata. */
  readonly metadata: MappedMetadata | null;
}

/** How the metadata of a program went to the device. */
export interface MappedMetadata {
  readonly decision: 'map' | 'copy';
  readonly bytes: number;
  /** The program's own pages; of a copy nothing, as the buffer lies anywhere. */
  readonly vecs: readonly VecRecord[];
  readonly segments: number;
}
