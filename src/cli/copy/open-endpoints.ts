import { BlockError } from '../../base/block-error.ts';
import { formatSize } from '../../base/units.ts';
import { BlockDevice } from '../../device/block-device.ts';
import { Disk } from '../../device/disk.ts';
import type { Arena } from '../../memory/arena.ts';
import { nodeEnv } from '../../node/node-env.ts';
import { ProtectEngine } from '../../protect/protect-engine.ts';
import { createProtected } from '../../targets/create-protected.ts';
import { open } from '../../targets/open.ts';
import { protectedFile, type Target } from '../../targets/target.ts';
import { DiskSink } from './disk-sink.ts';
import { DiskSource } from './disk-source.ts';
import type { CopySink, CopySource, SparsePolicy } from './endpoint.ts';
import { StreamSink } from './stream-sink.ts';
import { StreamSource } from './stream-source.ts';

export interface EndpointOptions {
  readonly arena: Arena;
  readonly direct: boolean;
  readonly sparse: SparsePolicy;
  /** Tuples beside the destination. */
  readonly protect: boolean;
  /** In which file; null: by the name of the destination. */
  readonly store: string | null;
  /** The copy ends with a flush, so closing the destination may wait for the medium too. */
  readonly flush: boolean;
}

export async function openSource(target: Target, options: EndpointOptions): Promise<CopySource> {
  if (target.kind === 'stdio') return new StreamSource(process.stdin, 'standard input');
  const { arena, direct } = options;
  return new DiskSource(await open(target.text, { arena, direct, readOnly: true }));
}

/**
 * Opens the destination for `size` bytes (null: unknown). A regular file is made, or emptied: then
 * it has no old blocks, and what is not written is a hole. A device must be large enough.
 */
export async function openSink(
  target: Target,
  size: number | null,
  options: EndpointOptions,
): Promise<CopySink> {
  if (target.kind === 'stdio') return new StreamSink(1, 'standard output');
  if (options.protect) return await openProtectedSink(target, size, options);
  const { arena, direct } = options;
  const disk = await open(target.text, { arena, direct, create: true });
  try {
    const sink = new DiskSink({ disk, arena, discards: options.sparse === 'always' });
    // Not when it is empty already: ext4 takes any truncation to 0 as a file being replaced, and
    // then writes all of it out when it is closed (0.4 s for a GiB).
    if (sink.size === null && disk.size > 0) await disk.truncate(0);
    if (size === null) return sink;
    if (sink.size === null) {
      if (size > 0) await disk.truncate(size);
    } else if (sink.size < size) {
      const reason =
        `the source has ${formatSize(size)} (${size} bytes), ` +
        `the destination only ${formatSize(sink.size)} (${sink.size} bytes)`;
      throw new BlockError('ENOSPC', { reason, device: target.text });
    }
    return sink;
  } catch (error) {
    await disk.close();
    throw error;
  }
}

/** A new file with tuples, or a device that gets some. */
async function openProtectedSink(
  target: Target,
  size: number | null,
  options: EndpointOptions,
): Promise<CopySink> {
  if (size === null || target.kind !== 'file') {
    const reason = '--protect needs to know the size first, and the source is a stream';
    throw new BlockError('EINVAL', { reason, device: target.text });
  }
  const { arena, direct, flush } = options;
  const engine = await createProtected(protectedFile(target, options.store), {
    sizeBytes: size,
    direct,
    flushesAtClose: flush,
    again: true,
  });
  const { defer, nowNs } = nodeEnv();
  const disk = new Disk(new BlockDevice({ engine, arena, defer, nowNs }));
  const isEmpty = engine instanceof ProtectEngine && engine.isFresh;
  return new DiskSink({ disk, arena, discards: options.sparse === 'always', isEmpty });
}
