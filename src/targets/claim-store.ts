import { setTimeout } from 'node:timers/promises';
import { BlockError } from '../base/block-error.ts';
import type { Engine, EngineInfo } from '../engine/contract.ts';

// Two processes that write tuples to one store would each take the other for dead: the lock of the
// store says who it is. Where there is no door to the host's locks the store itself tells, later:
// at the next mark or commit.

/**
 * The ring of a process that was killed is taken apart after the process is gone, and until then it
 * holds the file: 20 to 100 ms, more on a slow disk.
 */
const TRIES = 40;
const TRY_EACH_MS = 25;

/** For people and `verify`: true, false or 'unknown'. */
export const WRITER_FACT = 'another writer';

/** Makes `store` ours until it is closed. Rejects with BlockError EBUSY. */
export async function claimStore(store: Engine): Promise<void> {
  for (let tries = 1; store.writerLock?.take() === false; tries++) {
    if (tries === TRIES) {
      const reason = 'another process has it open for writing';
      throw new BlockError('EBUSY', { reason, device: store.info.target });
    }
    await setTimeout(TRY_EACH_MS);
  }
}

/** Readers take nothing, but say whom they have met. */
export function writerFact(store: Engine): EngineInfo['facts'] {
  return { [WRITER_FACT]: store.writerLock?.isTaken() ?? 'unknown' };
}
