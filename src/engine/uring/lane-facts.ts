import {
  IORING_FEAT_RW_ATTR,
  IORING_OP_READV_FIXED,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_SUBMIT_ALL,
} from '../../abi/io-uring.ts';
import { BlockError } from '../../base/block-error.ts';
import type { HostEnv } from '../../base/env.ts';
import type { Lane } from './lane.ts';
import { LaneShare } from './lanes.ts';

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [IORING_SETUP_SINGLE_ISSUER, 'single-issuer'],
  [IORING_SETUP_DEFER_TASKRUN, 'defer-taskrun'],
  [IORING_SETUP_COOP_TASKRUN, 'coop-taskrun'],
  [IORING_SETUP_SUBMIT_ALL, 'submit-all'],
  [IORING_SETUP_NO_SQARRAY, 'no-sqarray'],
];

/** Facts of an engine on `lane`, for `biovec info`. */
export function describeLane(lane: Lane): Record<string, string | boolean> {
  const { flags, features } = lane.ring.parts;
  const names = FLAG_NAMES.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name);
  return {
    ring: names.join(' '),
    ringWaits: lane.waitKind,
    ringBuffers: lane.memory.canRegister ? 'registered when in use' : 'not registered',
    ringVectorsFixed: lane.ring.has(IORING_OP_READV_FIXED),
    ringMetadata: (features & IORING_FEAT_RW_ATTR) !== 0,
  };
}

export interface RingState {
  readonly isAvailable: boolean;
  /** What the ring is like, or why there is none. */
  readonly reason: string;
}

/** Tries it out: a ring is set up and closed again, unless there is one already. */
export function ringState(env: HostEnv): RingState {
  try {
    using share = LaneShare.acquire(env);
    const { ring, ringWaits } = describeLane(share.lane);
    return { isAvailable: true, reason: `io_uring with ${ring}; waits by ${ringWaits}` };
  } catch (error) {
    if (error instanceof BlockError) return { isAvailable: false, reason: error.reason };
    throw error;
  }
}
