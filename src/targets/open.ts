import { BlockDevice } from '../device/block-device.ts';
import { Disk } from '../device/disk.ts';
import type { Engine } from '../engine/contract.ts';
import type { Limits, LimitsInput } from '../limits/limits.ts';
import { type Profile, type ProfileName, profileNamed } from '../limits/profile.ts';
import { stackLimits } from '../limits/stack.ts';
import { fromEffective } from '../limits/validate.ts';
import type { Arena } from '../memory/arena.ts';
import { addHoldSource } from '../memory/hold-source.ts';
import { serveHoldsIfAsked } from '../node/holds-server.ts';
import { nodeEnv } from '../node/node-env.ts';
import { type OpenEngineOptions, openEngine } from './open-engine.ts';
import { parseTarget } from './target.ts';

export interface OpenOptions extends OpenEngineOptions {
  /** Where bounce pages come from. Default: the process's shared arena. */
  readonly arena?: Arena | undefined;
  /** Named behaviours of a kernel. Default 'biovec'. */
  readonly profile?: Profile | ProfileName | undefined;
  /** Stricter than what the target states, to try limits out; looser ones change nothing. */
  readonly limits?: LimitsInput | undefined;
}

/**
 * Opens `'./disk.img'`, `'/dev/vdb'`, `'ram:1G'` or `'null:1T'`. Close it, or `await using`.
 * Rejects with BlockError; a failure leaves nothing open.
 */
export async function open(target: string, options: OpenOptions = {}): Promise<Disk> {
  const env = options.env ?? nodeEnv();
  const { profile } = options;
  const named = typeof profile === 'string' ? profileNamed(profile) : profile;
  const engine = await openEngine(parseTarget(target), { ...options, env });
  try {
    serveHoldsIfAsked();
    const device = new BlockDevice({
      engine,
      arena: options.arena,
      profile: named,
      limits: options.limits === undefined ? undefined : stricter(engine, options.limits),
      defer: env.defer,
      nowNs: env.nowNs,
    });
    addHoldSource(device);
    return new Disk(device);
  } catch (error) {
    await engine.close();
    throw error;
  }
}

function stricter(engine: Engine, wish: LimitsInput): Limits {
  const { limits } = engine.info;
  const wished = fromEffective({ ...limits, ...wish });
  return stackLimits(limits, wished).limits;
}
