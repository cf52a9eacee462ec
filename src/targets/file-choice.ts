import { BlockError } from '../base/block-error.ts';
import type { Engine } from '../engine/contract.ts';
import { type FileEngineOptions, openFileEngine } from '../engine/file/open-file-engine.ts';
import { LaneShare } from '../engine/uring/lanes.ts';
import { openUringEngine } from '../engine/uring/open-uring-engine.ts';

/** Which engine carries files and block devices. 'auto': the ring where there is one. */
const ENGINE_CHOICES = ['auto', 'file', 'uring'] as const;
export type EngineChoice = (typeof ENGINE_CHOICES)[number];

/** BIOVEC_ENGINE, for a whole process. Throws BlockError EINVAL for a name that is none. */
export function engineFromEnvironment(): EngineChoice {
  const word = process.env['BIOVEC_ENGINE'] ?? '';
  if (word === '') return 'auto';
  const choice = ENGINE_CHOICES.find((name) => name === word);
  if (choice !== undefined) return choice;
  const reason = `BIOVEC_ENGINE is '${word}'; it may be ${ENGINE_CHOICES.join(', ')}`;
  throw new BlockError('EINVAL', { reason });
}

/**
 * Opens a file or block device by the chosen engine. Only 'auto' falls back, and only when there
 * is no ring: what is wrong with the file is told in any case.
 */
export async function openFile(
  path: string,
  options: FileEngineOptions,
  engine: EngineChoice = engineFromEnvironment(),
): Promise<Engine> {
  if (engine === 'file') return await openFileEngine(path, options);
  const share = ringShare(path, options, engine);
  if (share === null) return await openFileEngine(path, options);
  try {
    return await openUringEngine(path, options);
  } finally {
    share.release(); // The engine has its own.
  }
}

/** null: there is no ring, and nobody insists on it. */
function ringShare(
  device: string,
  options: FileEngineOptions,
  engine: EngineChoice,
): LaneShare | null {
  try {
    return LaneShare.acquire(options.env);
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    if (engine === 'auto') return null;
    const reason = `engine 'uring' was asked for, but there is no ring: ${error.reason}`;
    throw new BlockError(error.code, { reason, device, cause: error });
  }
}
