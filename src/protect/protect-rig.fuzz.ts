import { assert } from '../base/assert.ts';
import { roundDown } from '../base/units.ts';
import type { BioOp } from '../bio/bio-op.ts';
import { BlockDevice } from '../device/block-device.ts';
import { Disk } from '../device/disk.ts';
import type { Extent } from '../engine/contract.ts';
import { Arena } from '../memory/arena.ts';
import type { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { VolatileDisk } from '../testing/simulator/volatile-disk.ts';
import { openProtect } from './open-protect.ts';
import { formatStore, layoutFor, type StoreFormat } from './open-store.ts';
import type { ProtectEngine } from './protect-engine.ts';
import { FreshBlocks, StoreState, type Superblock } from './superblock.ts';

/** Memory for all tests of a file: an arena reserves address space that is not given back. */
export const rigArena = new Arena({
  label: 'protect tests',
  maxBytes: 192 * 2 ** 20,
  places: false,
});

export interface RigOptions {
  readonly dataBytes?: number;
  readonly format?: Partial<StoreFormat>;
  readonly seed?: number;
  readonly history?: PowerHistory;
  readonly depth?: number;
  readonly cachePages?: number;
  readonly boot?: Uint8Array | null;
  readonly flushesAtClose?: boolean;
  readonly readOnly?: boolean;
  readonly ordered?: boolean;
  /** A store of zeros is made by the opening itself, as a copy does it. */
  readonly makesStore?: boolean;
  /** The data below tells its zeros as holes. */
  readonly knowsHoles?: boolean;
  readonly failsData?: (op: BioOp, start: number, bytes: number) => number;
  readonly failsStore?: (op: BioOp, start: number, bytes: number) => number;
}

export const RIG_FORMAT: StoreFormat = { fresh: FreshBlocks.ZEROS, logBytes: 64 * 1024 };
const DATA_BYTES = 256 * 1024;

/** Contents of the two media: plain arrays, which a test may spoil. */
export interface Media {
  readonly data: Uint8Array;
  readonly store: Uint8Array;
}

const defer = (run: () => void): void => queueMicrotask(run);
const POOLS = { bios: 16, splits: 16 } as const;

/** A device of the arena and the pools of all rigs. */
export function lowerDevice(engine: VolatileDisk): BlockDevice {
  return new BlockDevice({ engine, arena: rigArena, defer, ...POOLS });
}

/** Data of zeros, and zeros where its store can be. */
export function blankMedia(options: RigOptions = {}): Media {
  const data = new Uint8Array(options.dataBytes ?? DATA_BYTES);
  const format = { ...RIG_FORMAT, ...options.format };
  return { data, store: new Uint8Array(layoutFor(data.length, format).storeBytes) };
}

/** Fresh media: data of zeros, and a store for it. */
export async function makeMedia(options: RigOptions = {}): Promise<Media> {
  const { data, store } = blankMedia(options);
  const format = { ...RIG_FORMAT, ...options.format };
  const random = new SeededRandom(options.seed ?? 1);
  const disks = [data, store].map(
    (bytes) => new VolatileDisk({ bytes, random, history: null, defer }),
  );
  const [dataDevice, storeDevice] = disks.map(lowerDevice) as [BlockDevice, BlockDevice];
  const state = StoreState.CLEAN;
  const numbers = (): number => random.uint32() / 2 ** 32;
  await formatStore(dataDevice, storeDevice, format, { arena: rigArena, random: numbers, state });
  await dataDevice.close();
  await storeDevice.close();
  return { data, store };
}

/** A protected disk over media; `disk.close()` ends all of it. */
export interface Rig {
  readonly engine: ProtectEngine;
  readonly disk: Disk;
}

export async function openRig(media: Media, options: RigOptions = {}): Promise<Rig> {
  const random = new SeededRandom(options.seed ?? 1);
  const history = options.history ?? null;
  const limits = { read_only: options.readOnly ?? false };
  const common = { random, history, defer, limits };
  const dataDisk = new VolatileDisk({
    ...common,
    bytes: media.data,
    target: 'data',
    fails: options.failsData,
  });
  const storeDisk = new VolatileDisk({
    ...common,
    bytes: media.store,
    target: 'store',
    fails: options.failsStore,
  });
  if (options.knowsHoles === true) {
    Object.assign(dataDisk, {
      extents: (start: number, end: number) => holesOf(media, start, end),
    });
  }
  const data = lowerDevice(dataDisk);
  const store = lowerDevice(storeDisk);
  try {
    const made = await makeStore(data, store, media, options);
    const engine = await openProtect({
      data,
      store,
      made,
      arena: rigArena,
      defer,
      target: 'protect:test',
      readOnly: options.readOnly,
      depth: options.depth ?? 8,
      cachePages: options.cachePages,
      boot: options.boot ?? null,
      flushesAtClose: options.flushesAtClose,
      ordered: options.ordered,
    });
    const device = new BlockDevice({ engine, arena: rigArena, defer, ...POOLS });
    return { engine, disk: new Disk(device) };
  } catch (error) {
    await data.close();
    await store.close();
    throw error;
  }
}

const HOLE_BYTES = 4096;

/** Of the medium as it is: before the first write, that is what the device has. */
async function* holesOf(media: Media, start: number, end: number): AsyncGenerator<Extent> {
  for (let at = start; at < end; ) {
    const stop = Math.min(roundDown(at, HOLE_BYTES) + HOLE_BYTES, end);
    const isZero = media.data.subarray(at, stop).every((byte) => byte === 0);
    yield { start: at, end: stop, kind: isZero ? 'hole' : 'data' };
    at = stop;
  }
}

/** undefined: there is a store, or none is to be made. */
async function makeStore(
  data: BlockDevice,
  store: BlockDevice,
  media: Media,
  options: RigOptions,
): Promise<Superblock | undefined> {
  if (options.makesStore !== true || !media.store.every((byte) => byte === 0)) return undefined;
  assert(options.readOnly !== true, 'rig: makes a store read-only');
  const random = new SeededRandom(options.seed ?? 1);
  return await formatStore(
    data,
    store,
    { ...RIG_FORMAT, ...options.format },
    {
      arena: rigArena,
      random: () => random.uint32() / 2 ** 32,
      state: StoreState.NEW,
      isOrdered: options.ordered,
      wasEmpty: true,
    },
  );
}
