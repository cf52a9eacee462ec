import {
  IO_URING_OP_SUPPORTED,
  IORING_FEAT_EXT_ARG,
  IORING_FEAT_NODROP,
  IORING_FEAT_SINGLE_MMAP,
  IORING_FEAT_SUBMIT_STABLE,
  IORING_OFF_SQ_RING,
  IORING_OFF_SQES,
  IORING_OP_FSYNC,
  IORING_OP_NOP,
  IORING_OP_READ,
  IORING_OP_READV,
  IORING_OP_WRITE,
  IORING_OP_WRITEV,
  IORING_REGISTER_PROBE,
  IORING_SETUP_CLAMP,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQSIZE,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SUBMIT_ALL,
  IORING_SETUP_TASKRUN_FLAG,
  OFFSETOF_cq_off_cqes,
  OFFSETOF_params_cq_entries,
  OFFSETOF_params_cq_off,
  OFFSETOF_params_features,
  OFFSETOF_params_flags,
  OFFSETOF_params_sq_entries,
  OFFSETOF_params_sq_off,
  OFFSETOF_sq_off_array,
  SIZEOF_io_uring_cqe,
  SIZEOF_io_uring_params,
  SIZEOF_io_uring_probe,
  SIZEOF_io_uring_probe_op,
  SIZEOF_io_uring_sqe,
} from '../../abi/io-uring.ts';
import { BlockError } from '../../base/block-error.ts';
import type { RingArea, RingDoor } from '../../base/env.ts';
import { Errno } from '../../base/errno.ts';

/** A ring as the kernel made it. Whoever asked for it closes it. */
export interface RingParts {
  readonly door: RingDoor;
  readonly fd: number;
  /** IORING_SETUP_*: what the kernel accepted of our wishes. */
  readonly flags: number;
  readonly features: number;
  readonly sqEntries: number;
  readonly cqEntries: number;
  /** Both queues, and their offsets in it. */
  readonly queues: RingArea;
  readonly sqes: RingArea;
  /** struct io_uring_params after the call. */
  readonly params: DataView;
  /** 1 for each opcode that the kernel has. */
  readonly ops: Uint8Array;
}

const NEEDED_FLAGS = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
/**
 * Wishes, youngest first: a kernel says EINVAL to a flag that it does not know, and then the ring
 * does without. What goes together is dropped together. SQPOLL is no wish: a kernel thread that
 * spins costs a core.
 */
const WISHES: readonly number[] = [
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
  IORING_SETUP_SUBMIT_ALL,
];
const NEEDED_FEATURES =
  IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG;
const NEEDED_OPS = [
  IORING_OP_NOP,
  IORING_OP_READ,
  IORING_OP_WRITE,
  IORING_OP_READV,
  IORING_OP_WRITEV,
  IORING_OP_FSYNC,
];
/** More than any kernel has. */
const PROBED_OPS = 256;

/** Throws BlockError, with the sentence that tells a user why there is no ring here. */
export function setUpRing(door: RingDoor, sqEntries: number, cqEntries: number): RingParts {
  const params = new DataView(new SharedArrayBuffer(SIZEOF_io_uring_params));
  const { fd, flags } = callSetup(door, params, sqEntries, cqEntries);
  const areas: RingArea[] = [];
  try {
    const features = params.getUint32(OFFSETOF_params_features, true);
    if ((features & NEEDED_FEATURES) !== NEEDED_FEATURES) throw tooOld('a feature of Linux 5.11');
    const ops = probeOps(door, fd);
    const entries = params.getUint32(OFFSETOF_params_sq_entries, true);
    const queues = mapArea(door, fd, IORING_OFF_SQ_RING, queueBytes(params));
    areas.push(queues);
    const sqes = mapArea(door, fd, IORING_OFF_SQES, entries * SIZEOF_io_uring_sqe);
    return {
      door,
      fd,
      flags,
      features,
      sqEntries: entries,
      cqEntries: params.getUint32(OFFSETOF_params_cq_entries, true),
      queues,
      sqes,
      params,
      ops,
    };
  } catch (error) {
    for (const area of areas) door.unmap(area);
    door.close(fd);
    throw error;
  }
}

function callSetup(
  door: RingDoor,
  params: DataView,
  sqEntries: number,
  cqEntries: number,
): { fd: number; flags: number } {
  const address = door.addressOf(new Uint8Array(params.buffer as SharedArrayBuffer));
  const wishes = [...WISHES];
  for (;;) {
    const flags = wishes.reduce((all, wish) => all | wish, NEEDED_FLAGS);
    for (let i = 0; i < SIZEOF_io_uring_params; i++) params.setUint8(i, 0);
    params.setUint32(OFFSETOF_params_flags, flags, true);
    params.setUint32(OFFSETOF_params_cq_entries, cqEntries, true);
    const fd = door.setup(sqEntries, address);
    if (fd >= 0) return { fd, flags };
    if (fd !== -Errno.EINVAL || wishes.length === 0) throw refusal(fd);
    wishes.shift();
  }
}

const ENOSYS = 38;

function refusal(status: number): BlockError {
  const detail = { syscall: 'io_uring_setup' };
  switch (status) {
    case -Errno.EPERM:
    case -Errno.EACCES: {
      const reason =
        'io_uring is forbidden here ' +
        '(sysctl kernel.io_uring_disabled, or a container that filters it)';
      return new BlockError('EPERM', { reason, ...detail });
    }
    case -ENOSYS: {
      const reason = 'the kernel has no io_uring, or a container hides it';
      return new BlockError('EOPNOTSUPP', { reason, ...detail });
    }
    case -Errno.ENOMEM: {
      const reason = 'there is no memory for a ring (see ulimit -l)';
      return new BlockError('ENOMEM', { reason, ...detail });
    }
    default:
      return BlockError.fromErrno(status, { reason: 'the kernel gave no ring', ...detail });
  }
}

function tooOld(what: string): BlockError {
  const reason = `this kernel's io_uring lacks ${what}`;
  return new BlockError('EOPNOTSUPP', { reason, syscall: 'io_uring_setup' });
}

function probeOps(door: RingDoor, fd: number): Uint8Array {
  const bytes = SIZEOF_io_uring_probe + PROBED_OPS * SIZEOF_io_uring_probe_op;
  const probe = new DataView(new SharedArrayBuffer(bytes));
  const address = door.addressOf(new Uint8Array(probe.buffer as SharedArrayBuffer));
  const status = door.register(fd, IORING_REGISTER_PROBE, address, PROBED_OPS);
  if (status < 0) throw tooOld('REGISTER_PROBE');
  const ops = new Uint8Array(PROBED_OPS);
  const count = probe.getUint8(1);
  for (let i = 0; i < count; i++) {
    const at = SIZEOF_io_uring_probe + i * SIZEOF_io_uring_probe_op;
    const op = probe.getUint8(at);
    ops[op] = probe.getUint16(at + 2, true) & IO_URING_OP_SUPPORTED;
  }
  for (const op of NEEDED_OPS) if (ops[op] === 0) throw tooOld(`the operation ${op}`);
  return ops;
}

/** One mapping holds both queues (IORING_FEAT_SINGLE_MMAP): as long as the longer one asks. */
function queueBytes(params: DataView): number {
  const sqArray = params.getUint32(OFFSETOF_params_sq_off + OFFSETOF_sq_off_array, true);
  const sqEnd = sqArray + params.getUint32(OFFSETOF_params_sq_entries, true) * 4;
  const cqes = params.getUint32(OFFSETOF_params_cq_off + OFFSETOF_cq_off_cqes, true);
  const cqEntries = params.getUint32(OFFSETOF_params_cq_entries, true);
  const cqEnd = cqes + cqEntries * SIZEOF_io_uring_cqe;
  return Math.max(sqArray === 0 ? 0 : sqEnd, cqEnd);
}

function mapArea(door: RingDoor, fd: number, offset: number, bytes: number): RingArea {
  const area = door.map(fd, offset, bytes);
  if (typeof area !== 'number') return area;
  throw BlockError.fromErrno(area, { reason: 'the ring cannot be mapped', syscall: 'mmap' });
}
