import { BlockDevice } from '../device/block-device.ts';
import { openRamEngine } from '../engine/memory/ram-engine.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { presetLimits } from '../limits/presets.ts';
import type { EngineUnderTest } from '../testing/engine-suite/engine-bench.ts';
import { engineSuite } from '../testing/engine-suite.ts';
import { openProtect } from './open-protect.ts';
import { formatStore, layoutFor, type StoreFormat } from './open-store.ts';
import { rigArena } from './protect-rig.fuzz.ts';
import { FreshBlocks, StoreState } from './superblock.ts';

const SIZE = 2 ** 21;
const defer = (run: () => void): void => void setImmediate(run);

/** The whole conformance suite over RAM disks: every format, and lower limits of other kinds. */
async function openOnRam(format: StoreFormat, limits: LimitsInput): Promise<EngineUnderTest> {
  const { storeBytes } = layoutFor(SIZE, format);
  const data = new BlockDevice({
    engine: openRamEngine({ sizeBytes: SIZE, limits, defer }),
    arena: rigArena,
    defer,
  });
  const store = new BlockDevice({
    engine: openRamEngine({ sizeBytes: storeBytes, defer }),
    arena: rigArena,
    defer,
  });
  const state = StoreState.CLEAN;
  await formatStore(data, store, format, { arena: rigArena, random: Math.random, state });
  const target = 'protect:ram';
  const engine = await openProtect({ data, store, arena: rigArena, defer, target, depth: 7 });
  return { engine };
}

const UNCHECKED = { fresh: FreshBlocks.UNCHECKED, logBytes: 256 * 1024 } as const;
for (const [name, format, limits] of [
  ['crc64 and 4 KiB', { ...UNCHECKED }, {}],
  ['crc16 and 512 bytes', { ...UNCHECKED, guard: 'crc16', intervalBytes: 512 }, {}],
  ['crc64 and the limits of nvme', { ...UNCHECKED, intervalBytes: 512 }, presetLimits('nvme')],
  ['crc16 on blocks of 4 KiB', { ...UNCHECKED, guard: 'crc16' }, presetLimits('4kn')],
] as const) {
  engineSuite(`protect with ${name}`, () => openOnRam(format, limits), { hasMetadata: true });
}
