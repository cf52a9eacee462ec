import { BlockError } from '../base/block-error.ts';
import type { HostEnv } from '../base/env.ts';
import { MIB } from '../base/units.ts';
import { BlockDevice } from '../device/block-device.ts';
import type { Engine } from '../engine/contract.ts';
import { openRamEngine } from '../engine/memory/ram-engine.ts';
import { Arena } from '../memory/arena.ts';
import { openProtect } from '../protect/open-protect.ts';
import { formatStore, layoutFor, type StoreFormat } from '../protect/open-store.ts';
import { FreshBlocks, StoreState } from '../protect/superblock.ts';
import { claimStore, writerFact } from './claim-store.ts';
import { openFile } from './file-choice.ts';
import type { OpenEngineOptions } from './open-engine.ts';
import type { ProtectedFile, ProtectTarget } from './target.ts';

/** Tuples in memory (32 MiB), a log after a crash (64 MiB), requests and their bounce pages. */
const ARENA_BYTES = 192 * MIB;
const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const BOOT_ID_TEXT = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export type OpenLower = (options: OpenEngineOptions) => Promise<Engine>;

/** Where the tuples of a protected file or block device are. */
export function storePath(target: ProtectedFile): string {
  return target.store ?? `${target.data.path}.pi`;
}

/**
 * A file beside a device would lie in a folder that the system makes anew at each start. Throws
 * BlockError EINVAL.
 */
export function requireStoreName(target: ProtectTarget, data: Engine): void {
  if (target.store !== null || !data.info.fixedSize) return;
  const reason = 'the tuples of a block device need a file of their own: ,store=FILE or --store';
  throw new BlockError('EINVAL', { reason, device: target.text });
}

/** Two devices and the memory for what stands on them. */
export class ProtectLower {
  readonly arena = new Arena({ label: 'tuples', maxBytes: ARENA_BYTES, places: false });
  readonly #open: BlockDevice[] = [];
  readonly #env: HostEnv;

  constructor(env: HostEnv) {
    this.#env = env;
  }

  device(engine: Engine): BlockDevice {
    const { defer, nowNs } = this.#env;
    const device = new BlockDevice({ engine, arena: this.arena, defer, nowNs });
    this.#open.push(device);
    return device;
  }

  /** For an engine that closes both devices by itself. */
  readonly release = (): void => {
    this.arena[Symbol.dispose]();
  };

  /** After a failure, or when no engine stands on them. */
  async close(): Promise<void> {
    for (const device of this.#open) await device.close();
    this.release();
  }
}

/** Opens a protected target: data and store, and what makes them one device. */
export async function openProtected(
  target: ProtectTarget,
  options: OpenEngineOptions,
  env: HostEnv,
  openData: OpenLower,
): Promise<Engine> {
  const lower = new ProtectLower(env);
  try {
    const { depth: _own, truncateTo: _fixed, create: _exists, ...rest } = options;
    const data = lower.device(await openData(rest));
    checkSize(target, data, options);
    if (target.data.kind === 'file') requireStoreName(target, data.engine);
    const store = lower.device(await openStore(target, data, options, env));
    const isWriter = !(options.readOnly ?? false) && !store.limits.read_only;
    if (isWriter) await claimStore(store.engine);
    if (target.data.kind !== 'file') await formatRam(target, data, store, lower.arena, env);
    return await openProtect({
      data,
      store,
      arena: lower.arena,
      defer: env.defer,
      target: target.text,
      facts: isWriter ? {} : writerFact(store.engine),
      readOnly: options.readOnly,
      depth: options.depth,
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

function checkSize(target: ProtectTarget, data: BlockDevice, options: OpenEngineOptions): void {
  const { truncateTo = 0 } = options;
  const have = data.engine.sizeBytes();
  if (truncateTo <= have) return;
  const reason = `the protected device has ${have} bytes, ${truncateTo} are needed`;
  throw new BlockError('ENOSPC', { reason, device: target.text });
}

async function openStore(
  target: ProtectTarget,
  data: BlockDevice,
  options: OpenEngineOptions,
  env: HostEnv,
): Promise<Engine> {
  if (target.data.kind !== 'file') {
    const { storeBytes } = layoutFor(data.engine.sizeBytes(), formatOf(target));
    return openRamEngine({ sizeBytes: storeBytes, target: 'ram:tuples', defer: env.defer });
  }
  const path = storePath({ ...target, data: target.data });
  try {
    return await openFile(path, { env, readOnly: options.readOnly }, options.engine);
  } catch (cause) {
    if (!(cause instanceof BlockError) || cause.code !== 'ENOENT') throw cause;
    const reason =
      `it is not protected: there are no tuples in '${path}'; ` +
      `biovec protect ${target.data.path} makes them`;
    throw new BlockError('ENOENT', { reason, syscall: 'open', device: target.text, cause });
  }
}

function formatOf(target: ProtectTarget): StoreFormat {
  const guard = target.guard ?? undefined;
  const intervalBytes = target.intervalBytes ?? undefined;
  return { guard, intervalBytes, fresh: FreshBlocks.ZEROS };
}

/** A RAM disk begins with zeros, so its tuples do too. */
async function formatRam(
  target: ProtectTarget,
  data: BlockDevice,
  store: BlockDevice,
  arena: Arena,
  env: HostEnv,
): Promise<void> {
  const random = (): number => env.random();
  await formatStore(data, store, formatOf(target), { arena, random, state: StoreState.CLEAN });
}

/** This run of the host; null where nobody tells. Linux: /proc/sys/kernel/random/boot_id. */
export function bootOf(env: HostEnv): Promise<Uint8Array | null> {
  return new Promise((resolve) => {
    env.fs.readText(BOOT_ID, (error, text) => {
      const id = error === null ? text.trim() : '';
      if (!BOOT_ID_TEXT.test(id)) resolve(null);
      else resolve(Uint8Array.from(Buffer.from(id.replaceAll('-', ''), 'hex')));
    });
  });
}
