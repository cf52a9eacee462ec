import { BLKGETSIZE64, BLKPBSZGET, BLKROTATIONAL, BLKSSZGET } from '../../abi/linux-block.ts';
import { IOV_MAX } from '../../abi/linux-fs.ts';
import { BlockError } from '../../base/block-error.ts';
import type { DirectAlignment, FileStat, HostEnv } from '../../base/env.ts';
import { GIB, isPowerOfTwo, MIB, PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import { type Limits, type LimitsInput, UINT32_MAX } from '../../limits/limits.ts';
import { validateLimits } from '../../limits/validate.ts';
import { readDeviceSysfs } from './device-sysfs.ts';
import { isTooShortToTell, segmentAlignment, tryDirectAlignment } from './direct-trial.ts';

/** What a probe found out. `facts` say how. */
export interface Probed {
  readonly limits: Limits;
  readonly sizeBytes: number;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

export interface ProbeSubject {
  readonly env: HostEnv;
  readonly fd: number;
  readonly stat: FileStat;
  readonly isDirect: boolean;
  readonly isReadOnly: boolean;
  readonly target: string;
}

/** One call carries this much. Larger ones gain nothing and hold a thread of the pool for long. */
const REQUEST_BYTES_MAX = 4 * MIB;
/** A range call runs on its own thread, or in the loop, which it may hold only for a moment. */
const RANGE_BYTES_MAX_ASYNC = GIB;
const RANGE_BYTES_MAX_SYNC = 64 * MIB;
const LOGICAL_BLOCK_BYTES_MAX = 65536;

/** What the system call interface takes, on any file: the kernel splits further by itself. */
function interfaceLimits(subject: ProbeSubject): LimitsInput {
  const { env, isReadOnly } = subject;
  const rangeBytes = env.native?.isAsync === false ? RANGE_BYTES_MAX_SYNC : RANGE_BYTES_MAX_ASYNC;
  const isWritable = !isReadOnly;
  return {
    max_hw_sectors: REQUEST_BYTES_MAX / SECTOR_BYTES,
    max_user_sectors: REQUEST_BYTES_MAX / SECTOR_BYTES, // Lifts the soft cap of max_sectors.
    max_segments: IOV_MAX,
    max_segment_size: UINT32_MAX,
    seg_boundary_mask: Number.MAX_SAFE_INTEGER,
    dma_alignment: 0,
    max_hw_discard_sectors: isWritable && env.native !== null ? rangeBytes / SECTOR_BYTES : 0,
    max_write_zeroes_sectors: isWritable ? rangeBytes / SECTOR_BYTES : 0,
    write_cache: true, // The page cache at least: a FLUSH is always worth its fdatasync.
    fua: true,
    read_only: isReadOnly,
  };
}

/** Limits and size of a regular file. Throws BlockError when it takes no direct I/O. */
export async function probeRegular(subject: ProbeSubject): Promise<Probed> {
  const { env, stat, isDirect } = subject;
  const preferred = isPowerOfTwo(stat.blksize) ? Math.min(stat.blksize, PAGE_BYTES) : SECTOR_BYTES;
  const common: LimitsInput = {
    ...interfaceLimits(subject),
    physical_block_size: Math.max(preferred, SECTOR_BYTES),
    discard_granularity: Math.max(preferred, SECTOR_BYTES),
  };
  const extents = env.native === null ? 'unknown' : 'seek';
  const facts = { extents, discard: discardFact(subject, 'fallocate') };
  const sizeBytes = stat.size;
  if (!isDirect) {
    return { limits: validateLimits(common), sizeBytes, facts: { ...facts, limits: 'assumed' } };
  }
  const { alignment, how } = await directAlignment(subject);
  const limits = validateLimits({
    ...common,
    logical_block_size: alignment.offset,
    dma_alignment: alignment.memory - 1,
  });
  return { limits, sizeBytes, facts: { ...facts, limits: how } };
}

function discardFact(subject: ProbeSubject, call: string): string {
  if (subject.isReadOnly) return 'no: read-only';
  return subject.env.native === null ? 'no: no foreign functions' : call;
}

async function directAlignment(
  subject: ProbeSubject,
): Promise<{ alignment: DirectAlignment; how: string }> {
  const { env, fd, stat } = subject;
  const trial = { fs: env.fs, fd, sizeBytes: stat.size };
  const told = env.native?.directAlignment(fd) ?? null;
  const found = told ?? (await tryDirectAlignment(trial));
  if (found === null || found.memory === 0 || found.offset === 0) {
    throw noDirect(subject.target);
  }
  const offset = Math.max(found.offset, SECTOR_BYTES);
  if (offset > LOGICAL_BLOCK_BYTES_MAX || found.memory > PAGE_BYTES) {
    const reason =
      `O_DIRECT here asks for memory aligned to ${found.memory} and blocks of ${offset} bytes; ` +
      `at most ${PAGE_BYTES} and ${LOGICAL_BLOCK_BYTES_MAX} are possible`;
    throw new BlockError('EOPNOTSUPP', { reason, device: subject.target });
  }
  if (told === null) {
    return { alignment: found, how: isTooShortToTell(trial) ? 'assumed' : 'trial' };
  }
  const memory = await segmentAlignment(trial, { memory: found.memory, offset });
  return { alignment: { memory: Math.min(memory, PAGE_BYTES), offset }, how: 'statx' };
}

/** The documented answer where O_DIRECT does not work, whatever the file system said. */
export function noDirect(target: string, cause?: unknown): BlockError {
  const reason = 'this file system does not take O_DIRECT; open it without direct';
  return new BlockError('EOPNOTSUPP', { reason, device: target, syscall: 'open', cause });
}

/** Limits and size of a block device: sysfs, else the ioctls, else an error. */
export async function probeBlock(subject: ProbeSubject): Promise<Probed> {
  const fromSysfs = await probeSysfs(subject);
  if (fromSysfs !== null) return fromSysfs;
  const { env, fd, isDirect, target } = subject;
  const { native } = env;
  const sizeBytes = native?.ioctlNumber(fd, BLKGETSIZE64, 8) ?? -1;
  const logical = native?.ioctlNumber(fd, BLKSSZGET, 4) ?? -1;
  if (native === null || sizeBytes < 0 || logical < 0) {
    const reason = `neither sysfs nor an ioctl tells its size (${env.nativeReason})`;
    throw new BlockError('ENODEV', { reason, device: target });
  }
  const limits = validateLimits({
    ...interfaceLimits(subject),
    max_hw_discard_sectors: 0, // No ioctl tells.
    logical_block_size: logical,
    physical_block_size: Math.max(native.ioctlNumber(fd, BLKPBSZGET, 4), logical),
    dma_alignment: isDirect ? logical - 1 : 0,
    rotational: native.ioctlNumber(fd, BLKROTATIONAL, 2) === 1,
  });
  const discard = 'no: unknown without sysfs';
  const facts = { extents: 'unknown', discard, limits: 'ioctl' };
  return { limits, sizeBytes, facts };
}

async function probeSysfs(subject: ProbeSubject): Promise<Probed | null> {
  const { env, fd, stat, isDirect, isReadOnly } = subject;
  const sysfs = await readDeviceSysfs(env.fs, stat.rdev);
  if (sysfs === null) return null;
  const number = (name: string): number => Number(sysfs.queue.get(name) ?? 0);
  const logical = number('logical_block_size');
  const told = env.native?.directAlignment(fd) ?? null;
  const mask = sysfs.queue.has('dma_alignment') ? number('dma_alignment') : logical - 1;
  const base = interfaceLimits({ ...subject, isReadOnly: isReadOnly || sysfs.isReadOnly });
  const canDiscard = number('discard_max_bytes') > 0;
  const memory = isDirect
    ? await segmentAlignment(
        { fs: env.fs, fd, sizeBytes: sysfs.sizeBytes },
        { memory: told?.memory || mask + 1, offset: logical },
      )
    : 1;
  const limits = validateLimits({
    ...base,
    logical_block_size: logical,
    physical_block_size: number('physical_block_size'),
    io_min: number('minimum_io_size'),
    io_opt: number('optimal_io_size'),
    dma_alignment: Math.min(memory, PAGE_BYTES) - 1,
    max_hw_discard_sectors: canDiscard ? base.max_hw_discard_sectors : 0,
    discard_granularity: number('discard_granularity'),
    discard_alignment: canDiscard ? sysfs.discardAlignment : 0,
    rotational: number('rotational') === 1,
  });
  // How the kernel cuts what it gets from us: worth seeing, but no limit of ours.
  const facts: Record<string, string | number | boolean> = {
    extents: 'unknown',
    discard: canDiscard ? discardFact(subject, 'BLKDISCARD') : 'no: the device has none',
    limits: 'sysfs',
    partition: sysfs.isPartition,
    queue_max_bytes: number('max_sectors_kb') * 1024,
    queue_max_segments: number('max_segments'),
    queue_write_cache: sysfs.queue.get('write_cache') ?? 'unknown',
    queue_write_zeroes: number('write_zeroes_max_bytes') > 0,
  };
  return { limits, sizeBytes: sysfs.sizeBytes, facts };
}
