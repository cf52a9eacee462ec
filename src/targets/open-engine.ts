import { unreachable } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import type { HostEnv } from '../base/env.ts';
import type { Engine } from '../engine/contract.ts';
import { type NullEngineOptions, openNullEngine } from '../engine/memory/null-engine.ts';
import { openRamEngine } from '../engine/memory/ram-engine.ts';
import { nodeEnv } from '../node/node-env.ts';
import { type EngineChoice, openFile } from './file-choice.ts';
import { openProtected } from './open-protected.ts';
import type { Target } from './target.ts';

export interface OpenEngineOptions {
  /** O_DIRECT on files; memory has no page cache to go round. Default false. */
  readonly direct?: boolean | undefined;
  /** Default false. */
  readonly readOnly?: boolean | undefined;
  /** Makes a regular file that is not there. Default false. */
  readonly create?: boolean | undefined;
  /** Bytes that a regular file gets; other targets must have as many. */
  readonly truncateTo?: number | undefined;
  /** Requests at once. Default: what the engine thinks best. */
  readonly depth?: number | undefined;
  /** For files and block devices. Default: BIOVEC_ENGINE, else 'auto'. */
  readonly engine?: EngineChoice | undefined;
  /** Of a protected target: closing waits for the medium. Default true. */
  readonly flushesAtClose?: boolean | undefined;
  /** Default: this Node process. */
  readonly env?: HostEnv | undefined;
}

/** A target's name becomes an engine. Throws BlockError with a code and a sentence. */
export async function openEngine(target: Target, options: OpenEngineOptions = {}): Promise<Engine> {
  const env = options.env ?? nodeEnv();
  switch (target.kind) {
    case 'file':
      return openFile(target.path, { ...options, env }, options.engine);
    case 'ram':
      return openRamEngine({
        ...memoryOptions(target, options, env),
        limits: { read_only: options.readOnly ?? false, logical_block_size: target.blockBytes },
        integrity: target.integrity ?? undefined,
      });
    case 'null':
      return openNullEngine(memoryOptions(target, options, env));
    case 'protect':
      return openProtected(target, options, env, (data) => openEngine(target.data, data));
    case 'stdio': {
      const reason = 'standard input and output are streams; only copy takes them';
      throw new BlockError('EINVAL', { reason, device: target.text });
    }
    case 'nbd': {
      const reason = 'network disks are not built yet';
      throw new BlockError('EOPNOTSUPP', { reason, device: target.text });
    }
    default:
      return unreachable(target);
  }
}

function memoryOptions(
  target: Target & { readonly sizeBytes: number },
  options: OpenEngineOptions,
  env: HostEnv,
): NullEngineOptions {
  checkMemorySize(target.text, target.sizeBytes, options);
  return {
    sizeBytes: target.sizeBytes,
    target: target.text,
    depth: options.depth,
    limits: { read_only: options.readOnly ?? false },
    defer: env.defer,
  };
}

function checkMemorySize(device: string, sizeBytes: number, options: OpenEngineOptions): void {
  const { truncateTo = 0 } = options;
  if (truncateTo > sizeBytes) {
    const reason = `the device has ${sizeBytes} bytes, ${truncateTo} are needed`;
    throw new BlockError('ENOSPC', { reason, device });
  }
}
