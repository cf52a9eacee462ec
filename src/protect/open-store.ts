import { BlockError } from '../base/block-error.ts';
import { formatSize, MIB, PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { BlockDevice } from '../device/block-device.ts';
import {
  type Csum,
  IntegrityFlag,
  type IntegrityProfile,
  integrityOfType,
  PiType,
  validateIntegrity,
} from '../integrity/integrity-profile.ts';
import type { Arena } from '../memory/arena.ts';
import { zeroPages } from '../memory/copy.ts';
import { GenerationTable } from './generation-table.ts';
import { intervalFor, Layout } from './layout.ts';
import { RowCalls } from './row-transfer.ts';
import { Seal } from './seal.ts';
import {
  BOOT_BYTES,
  decodeSuperblock,
  encodeSuperblock,
  type FreshBlocks,
  StoreState,
  type Superblock,
} from './superblock.ts';

/** The guard of an image: an IP checksum is for the way to a controller, not for a medium. */
export type ProtectGuard = Exclude<Csum, 'none' | 'ip'>;

export interface StoreFormat {
  /** Default 'crc64': tuples of 16 bytes. */
  readonly guard?: ProtectGuard | undefined;
  /** Bytes of data under one tuple. Default 4096, or 512 where the data has no whole 4096. */
  readonly intervalBytes?: number | undefined;
  /** What blocks hold that nobody wrote. */
  readonly fresh: FreshBlocks;
  /** Default: 1/128 of the data, 256 KiB to 64 MiB. */
  readonly logBytes?: number | undefined;
  /** Tuple pages of a stretch. Default 32: about 32 MiB of data. */
  readonly stretchPages?: number | undefined;
}

const CLEAR_BYTES = MIB;

/** Layout of a store for `dataBytes`. Throws BlockError EINVAL. */
export function layoutFor(dataBytes: number, format: StoreFormat): Layout {
  const interval = format.intervalBytes ?? intervalFor(dataBytes);
  if (interval === null) {
    const reason =
      `${dataBytes} bytes are no whole blocks of 512: a tuple stands for whole blocks; make the ` +
      'image longer first';
    throw new BlockError('EINVAL', { reason });
  }
  if (interval < 512 || interval > PAGE_BYTES || !Number.isInteger(Math.log2(interval))) {
    const reason = `the interval is ${interval} bytes; it may be 512, 1024, 2048 or 4096`;
    throw new BlockError('EINVAL', { reason });
  }
  const csum = format.guard ?? 'crc64';
  const profile = profileFor(csum, interval);
  const { logBytes, stretchPages } = format;
  return new Layout({ profile, dataBytes, logBytes, stretchPages });
}

/** Its guards do not care where a segment ends. */
function profileFor(csum: Csum, interval: number): IntegrityProfile {
  const profile = integrityOfType({ type: PiType.TYPE1, csum }, interval);
  const flags = profile.flags | IntegrityFlag.SPLIT_INTERVAL_OK;
  return validateIntegrity({ ...profile, flags }, interval);
}

export interface FormatOptions {
  readonly arena: Arena;
  readonly random: () => number;
  readonly state: StoreState;
  /** Of a store in state NEW, which is not opened before it counts. Default false. */
  readonly isOrdered?: boolean | undefined;
  /**
   * A new file: there is no store whose superblocks could come back after a power cut, so it need
   * not be on the medium. Default false.
   */
  readonly wasEmpty?: boolean | undefined;
}

/**
 * Makes an empty store for `data` on `store`, in the given state; nothing of what was there before
 * counts any more. On the medium when it resolves, unless it is NEW and was empty.
 */
export async function formatStore(
  data: BlockDevice,
  store: BlockDevice,
  format: StoreFormat,
  options: FormatOptions,
): Promise<Superblock> {
  const { arena, random, state, isOrdered = false, wasEmpty = false } = options;
  const layout = layoutFor(data.engine.sizeBytes(), format);
  requireDevices(data, store, layout);
  const superblock: Superblock = {
    csum: layout.profile.csum,
    intervalExp: layout.profile.interval_exp,
    tupleBytes: layout.tupleBytes,
    fresh: format.fresh,
    dataBytes: layout.dataBytes,
    logBytes: layout.logBytes,
    stretchPages: layout.stretchPages,
    isOrdered,
    salt: { low: word(random), high: word(random) },
    sequence: 1,
    tail: 0,
    state,
    boot: new Uint8Array(BOOT_BYTES),
    root: { low: 0, high: 0 },
  };
  using page = arena.alloc(PAGE_BYTES, 'superblock');
  const calls = new RowCalls(store, 1);
  if (!wasEmpty) {
    zeroPages(page.page, 0, PAGE_BYTES);
    await calls.pages(BioOp.WRITE, layout.superblockAt(0), page.page, 1);
  }
  const table = new GenerationTable(layout, new Seal(superblock.salt));
  const complete = { ...superblock, root: table.rootAfter(1, [], page.page) };
  encodeSuperblock(page.page, complete);
  await calls.pages(BioOp.WRITE, layout.superblockAt(1), page.page, 1);
  await clearLog(layout, calls, arena);
  if (state !== StoreState.NEW || !wasEmpty) await calls.flush();
  return complete;
}

/**
 * Blocks of a file that have a place already are flushed without a word to the file system's
 * journal. Where they have none, ext4 first writes out what other files have waiting: a flush of
 * the log in the middle of a copy then costs as much as one of the copy (4 s instead of 0.7 s for
 * 512 MiB).
 */
async function clearLog(layout: Layout, calls: RowCalls, arena: Arena): Promise<void> {
  const bytes = Math.min(layout.logBytes, CLEAR_BYTES);
  using zeros = arena.alloc(bytes, 'zeros');
  zeroPages(zeros.page, 0, bytes);
  for (let at = 0; at < layout.logBytes; at += bytes) {
    const pages = Math.min(bytes, layout.logBytes - at) / PAGE_BYTES;
    await calls.pages(BioOp.WRITE, layout.logStart + at, zeros.page, pages);
  }
}

function word(random: () => number): number {
  return Math.floor(random() * 2 ** 32) | 0;
}

function requireDevices(data: BlockDevice, store: BlockDevice, layout: Layout): void {
  const have = store.engine.sizeBytes();
  const block = Math.max(store.limits.logical_block_size, data.limits.logical_block_size);
  if (block > PAGE_BYTES) {
    const reason = `blocks of ${block} bytes cannot be protected: at most 4096`;
    throw new BlockError('EINVAL', { reason, device: data.engine.info.target });
  }
  if (have >= layout.storeBytes) return;
  const reason =
    `tuples of ${formatSize(layout.dataBytes)} need ${layout.storeBytes} bytes, ` +
    `there are ${have}`;
  throw new BlockError('ENOSPC', { reason, device: store.engine.info.target });
}

export interface FoundStore {
  readonly superblock: Superblock;
  readonly layout: Layout;
  /**
   * The store was closed in the cache of a host that is gone: that commit never happened. Its
   * sequence; 0: there is none.
   */
  readonly undoneSequence: number;
}

/**
 * Reads the superblocks and decides which of them counts. `boot`: this run of the host; null:
 * nobody knows, so every close that was not flushed is a crash. Rejects with BlockError.
 */
export async function findStore(
  data: BlockDevice,
  store: BlockDevice,
  options: { readonly arena: Arena; readonly boot: Uint8Array | null },
): Promise<FoundStore> {
  const device = store.engine.info.target;
  using page = options.arena.alloc(PAGE_BYTES, 'superblock');
  const calls = new RowCalls(store, 1);
  const read = async (at: number): Promise<ReturnType<typeof decodeSuperblock>> => {
    await calls.pages(BioOp.READ, at, page.page, 1);
    return decodeSuperblock(page.page);
  };
  const end = store.engine.sizeBytes() - PAGE_BYTES;
  if (end < PAGE_BYTES) throw noStore('unknown', device);
  const first = await read(0);
  // The second copy stands behind everything, where the first one says; or at the very end.
  const at = typeof first === 'object' ? layoutOf(first).superblockAt(1) : end - (end % PAGE_BYTES);
  const second = at <= end ? await read(at) : 'unknown';
  const known = [first, second].filter((copy): copy is Superblock => typeof copy === 'object');
  const [newer, older] = known.sort((a, b) => b.sequence - a.sequence);
  if (newer === undefined) throw noStore(first === 'unknown' ? second : first, device);
  const isGone = newer.state === StoreState.UNFLUSHED && !sameBoot(newer.boot, options.boot);
  const superblock = isGone ? older : newer;
  if (superblock === undefined) {
    const reason =
      'it was closed without a flush, the host was restarted since, and the superblock of ' +
      'before cannot be read: protect the image anew';
    throw new BlockError('EILSEQ', { reason, device });
  }
  if (superblock.state === StoreState.UNFINISHED) {
    const reason = 'making its tuples was not finished: protect the image anew';
    throw new BlockError('EINVAL', { reason, device });
  }
  const layout = layoutOf(superblock);
  if (layout.dataBytes !== data.engine.sizeBytes()) {
    const reason =
      `these are the tuples of ${layout.dataBytes} bytes, but the data has ` +
      `${data.engine.sizeBytes()}`;
    throw new BlockError('EINVAL', { reason, device });
  }
  requireDevices(data, store, layout);
  return { superblock, layout, undoneSequence: isGone ? newer.sequence : 0 };
}

/** Whether one of the superblocks is there, whole or not. */
export async function looksLikeStore(store: BlockDevice, arena: Arena): Promise<boolean> {
  const end = store.engine.sizeBytes() - PAGE_BYTES;
  if (end < PAGE_BYTES) return false;
  using page = arena.alloc(PAGE_BYTES, 'superblock');
  const calls = new RowCalls(store, 1);
  for (const at of [0, end - (end % PAGE_BYTES)]) {
    await calls.pages(BioOp.READ, at, page.page, 1);
    if (decodeSuperblock(page.page) !== 'unknown') return true;
  }
  return false;
}

export function layoutOf(superblock: Superblock): Layout {
  const { csum, intervalExp, dataBytes, logBytes, stretchPages } = superblock;
  const profile = profileFor(csum, 2 ** intervalExp);
  return new Layout({ profile, dataBytes, logBytes, stretchPages });
}

function sameBoot(a: Uint8Array, b: Uint8Array | null): boolean {
  return b !== null && a.every((byte, i) => byte === b[i]);
}

function noStore(why: Superblock | string, device: string): BlockError {
  const what =
    why === 'unknown' ? 'it is no store of tuples' : `its superblocks are ${String(why)}`;
  const reason = why === 'other version' ? 'it has a format of another version' : what;
  return new BlockError(why === 'unknown' ? 'EINVAL' : 'EILSEQ', { reason, device });
}
