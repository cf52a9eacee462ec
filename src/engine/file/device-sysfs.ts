import type { FileSystem } from '../../base/env.ts';

/** What sysfs says of a block device; the keys are the names of its files. */
export interface DeviceSysfs {
  /** Files of <device>/queue: numbers, and words as text. */
  readonly queue: ReadonlyMap<string, string>;
  /** Bytes. */
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly isPartition: boolean;
  readonly discardAlignment: number;
}

const QUEUE_FILES = [
  'logical_block_size',
  'physical_block_size',
  'minimum_io_size',
  'optimal_io_size',
  'dma_alignment',
  'max_sectors_kb',
  'max_hw_sectors_kb',
  'max_segments',
  'max_segment_size',
  'discard_granularity',
  'discard_max_bytes',
  'write_zeroes_max_bytes',
  'rotational',
  'write_cache',
  'fua',
] as const;

const SYSFS_SECTOR_BYTES = 512;
const UINT32 = 2 ** 32;

/** "254:3". The kernel packs 12 bits of major and 20 of minor, the minor in two parts. */
function deviceNumber(rdev: number): string {
  const low = rdev % UINT32;
  const major = Math.floor(low / 2 ** 8) % 2 ** 12;
  const minor = (low % 2 ** 8) + Math.floor(low / 2 ** 20) * 2 ** 8;
  return `${major}:${minor}`;
}

/** null: there is no sysfs, or it does not know the device. */
export async function readDeviceSysfs(fs: FileSystem, rdev: number): Promise<DeviceSysfs | null> {
  const device = `/sys/dev/block/${deviceNumber(rdev)}`;
  const size = await readWord(fs, `${device}/size`);
  if (size === null) return null;
  const isPartition = (await readWord(fs, `${device}/partition`)) !== null;
  // A partition's folder lies in that of its disk, which has the queue.
  const folder = isPartition ? `${device}/../queue` : `${device}/queue`;
  const queue = new Map<string, string>();
  for (const name of QUEUE_FILES) {
    const word = await readWord(fs, `${folder}/${name}`);
    if (word !== null) queue.set(name, word);
  }
  if (!queue.has('logical_block_size')) return null;
  return {
    queue,
    sizeBytes: Number(size) * SYSFS_SECTOR_BYTES,
    isReadOnly: (await readWord(fs, `${device}/ro`)) === '1',
    isPartition,
    discardAlignment: Number((await readWord(fs, `${device}/discard_alignment`)) ?? 0),
  };
}

function readWord(fs: FileSystem, path: string): Promise<string | null> {
  return new Promise((resolve) => {
    fs.readText(path, (error, text) => resolve(error ? null : text.trim()));
  });
}
