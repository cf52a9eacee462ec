import { BlockError } from '../base/block-error.ts';
import { formatSize } from '../base/units.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { Engine } from '../engine/contract.ts';
import { nodeEnv } from '../node/node-env.ts';
import { openProtect } from '../protect/open-protect.ts';
import {
  formatStore,
  layoutFor,
  looksLikeStore,
  type ProtectGuard,
} from '../protect/open-store.ts';
import { protectData } from '../protect/protect-data.ts';
import { FreshBlocks, StoreState } from '../protect/superblock.ts';
import { claimStore } from './claim-store.ts';
import { openFile } from './file-choice.ts';
import { bootOf, ProtectLower, requireStoreName, storePath } from './open-protected.ts';
import type { ProtectedFile } from './target.ts';

export interface CreateProtectedOptions {
  readonly guard?: ProtectGuard | undefined;
  readonly intervalBytes?: number | undefined;
  /** A store that is there may be made anew. Default false: EEXIST. */
  readonly again?: boolean | undefined;
}

export interface ProtectImageOptions extends CreateProtectedOptions {
  readonly signal?: AbortSignal | undefined;
  /** Before the first block: bytes of data. */
  readonly onStart?: ((bytes: number) => void) | undefined;
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export interface ProtectedImage {
  readonly store: string;
  readonly storeBytes: number;
  readonly blocks: number;
  readonly intervalBytes: number;
  readonly tupleBytes: number;
  readonly guard: string;
  /** False: it was stopped, and the store is refused until it is made again. */
  readonly isComplete: boolean;
}

/** Makes the tuples of an image that is there: `biovec protect`. The image itself is only read. */
export async function protectImage(
  target: ProtectedFile,
  options: ProtectImageOptions = {},
): Promise<ProtectedImage> {
  const env = nodeEnv();
  const lower = new ProtectLower(env);
  try {
    const data = lower.device(await openFile(target.data.path, { env, readOnly: true }));
    requireStoreName(target, data.engine);
    const format = { ...formatOf(options), fresh: FreshBlocks.UNCHECKED };
    const layout = layoutFor(data.engine.sizeBytes(), format);
    const store = await openNewStore(target, options, lower);
    await setStoreSize(store.engine, layout.storeBytes);
    options.onStart?.(layout.dataBytes);
    const { signal, onProgress } = options;
    const random = (): number => env.random();
    const parts = { data, store, format, arena: lower.arena, random };
    const isComplete = await protectData({ ...parts, signal, onProgress });
    return {
      store: storePath(target),
      storeBytes: layout.storeBytes,
      blocks: layout.blocks,
      intervalBytes: layout.intervalBytes,
      tupleBytes: layout.tupleBytes,
      guard: layout.profile.csum,
      isComplete,
    };
  } finally {
    await lower.close();
  }
}

export interface CreateEngineOptions extends CreateProtectedOptions {
  /** Of the data: a file gets that size, a device must have it. */
  readonly sizeBytes: number;
  readonly direct?: boolean | undefined;
  readonly flushesAtClose?: boolean | undefined;
}

/**
 * A new protected file, emptied first, or a device whose old blocks nobody checks until they are
 * written: the destination of `biovec copy --protect`.
 */
export async function createProtected(
  target: ProtectedFile,
  options: CreateEngineOptions,
): Promise<Engine> {
  const env = nodeEnv();
  const lower = new ProtectLower(env);
  try {
    const { sizeBytes, direct } = options;
    layoutFor(sizeBytes, { ...formatOf(options), fresh: FreshBlocks.ZEROS }); // Or throws.
    const engine = await openFile(target.data.path, { env, direct, create: true });
    const data = lower.device(engine);
    requireStoreName(target, engine);
    const isFile = !engine.info.fixedSize;
    if (!isFile) requireRoom(engine, sizeBytes);
    // Nothing is emptied that somebody is writing.
    const store = await openNewStore(target, options, lower);
    const wasEmpty = store.engine.sizeBytes() === 0;
    if (isFile) await emptyFile(engine, sizeBytes);
    const fresh = isFile ? FreshBlocks.ZEROS : FreshBlocks.UNCHECKED;
    const format = { ...formatOf(options), fresh };
    const { storeBytes } = layoutFor(engine.sizeBytes(), format);
    await setStoreSize(store.engine, storeBytes);
    const { arena } = lower;
    const made = await formatStore(data, store, format, {
      arena,
      random: () => env.random(),
      state: StoreState.NEW,
      isOrdered: target.ordered,
      wasEmpty,
    });
    return await openProtect({
      data,
      store,
      made,
      arena,
      defer: env.defer,
      target: target.text,
      boot: await bootOf(env),
      ordered: target.ordered,
      flushesAtClose: options.flushesAtClose,
      onClosed: lower.release,
    });
  } catch (error) {
    await lower.close();
    throw error;
  }
}

function formatOf(options: CreateProtectedOptions): {
  readonly guard: ProtectGuard | undefined;
  readonly intervalBytes: number | undefined;
} {
  return { guard: options.guard, intervalBytes: options.intervalBytes };
}

async function emptyFile(engine: Engine, sizeBytes: number): Promise<void> {
  if (engine.sizeBytes() > 0) await engine.truncate?.(0);
  await engine.truncate?.(sizeBytes);
}

function requireRoom(engine: Engine, sizeBytes: number): void {
  if (engine.sizeBytes() >= sizeBytes) return;
  const have = engine.sizeBytes();
  const reason = `the device has ${formatSize(have)}, ${formatSize(sizeBytes)} are needed`;
  throw new BlockError('ENOSPC', { reason, device: engine.info.target });
}

/** For us alone, and as it was. What is no store is never written over. */
async function openNewStore(
  target: ProtectedFile,
  options: CreateProtectedOptions,
  lower: ProtectLower,
): Promise<BlockDevice> {
  const path = storePath(target);
  const store = lower.device(await openFile(path, { env: nodeEnv(), create: true }));
  await claimStore(store.engine);
  if (store.engine.sizeBytes() === 0) return store;
  const isStore = await looksLikeStore(store, lower.arena);
  if (!isStore || options.again !== true) throw exists(path, isStore);
  return store;
}

/** A device that is too small is told of when it is formatted. */
async function setStoreSize(store: Engine, bytes: number): Promise<void> {
  if (!store.info.fixedSize && store.sizeBytes() !== bytes) await store.truncate?.(bytes);
}

function exists(device: string, isStore: boolean): BlockError {
  const reason = isStore
    ? 'it holds tuples already; --again makes them anew, of the data as it is now'
    : 'there is another file of that name, which is no store of tuples';
  return new BlockError('EEXIST', { reason, device });
}
