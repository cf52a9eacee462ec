import { BlockError } from '../../base/block-error.ts';
import { type FileEngineOptions, openFileEngine } from '../file/open-file-engine.ts';
import { describeLane } from './lane-facts.ts';
import { LaneShare } from './lanes.ts';
import { UringEngine } from './uring-engine.ts';

export interface UringEngineOptions extends FileEngineOptions {
  /**
   * Reads and writes that take longer fail with ETIMEDOUT, as far as the kernel can give them up:
   * what a device has already taken comes to its own end. Default: none.
   */
  readonly timeoutMs?: number | undefined;
}

export const URING_DEPTH_DEFAULT = 128;
const TIMEOUT_MS_MAX = 2 ** 31;

/**
 * Opens a regular file or a block device on the thread's ring. Throws BlockError; a failure leaves
 * no trace. What there is no ring for is told with the code and the reason of the ring.
 */
export async function openUringEngine(
  path: string,
  options: UringEngineOptions,
): Promise<UringEngine> {
  const { timeoutMs = 0 } = options;
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0 || timeoutMs > TIMEOUT_MS_MAX) {
    const reason = `timeoutMs is ${timeoutMs}; it may be 0 (none) to ${TIMEOUT_MS_MAX}`;
    throw new BlockError('EINVAL', { reason, device: path });
  }
  const share = LaneShare.acquire(options.env);
  try {
    const depth = options.depth ?? URING_DEPTH_DEFAULT;
    const inner = await openFileEngine(path, { ...options, depth });
    const facts = { ...inner.info.facts, ...describeLane(share.lane) };
    const info = { ...inner.info, kind: 'uring', facts };
    return new UringEngine(share.lane, inner, info, timeoutMs, () => share.release());
  } catch (error) {
    share.release();
    throw error;
  }
}
