import { BlockError } from '../base/block-error.ts';
import {
  LIMIT_NAMES,
  type Limits,
  type LimitsInput,
  SEGMENT_COUNT_MAX,
  UINT32_MAX,
} from './limits.ts';
import { fromEffective, validateLimits } from './validate.ts';

// Limits of devices that people have, for `explain`, tests and models. A real target is probed.
// "Recorded" names the device in the oracle (QEMU's models under Linux 6.12).

/** Recorded: `nvm1`. Discard, zeroes and FUA as the NVMe driver sets them. */
const NVME: LimitsInput = {
  max_hw_sectors: 1024, // MDTS 7: 2^7 pages of 4096 bytes.
  max_segments: 128,
  virt_boundary_mask: 4095, // PRP lists have no holes inside.
  dma_alignment: 3,
  max_integrity_segments: 1,
  max_hw_discard_sectors: UINT32_MAX,
  max_discard_segments: 256, // Ranges of one Dataset Management command.
  max_write_zeroes_sectors: 1024,
  write_cache: true,
  fua: true,
};

/** Recorded: `vb256`, a queue of 256 entries of which header and status take two. */
const VIRTIO: LimitsInput = {
  max_hw_sectors: UINT32_MAX,
  max_segments: 254,
  max_segment_size: UINT32_MAX,
  max_hw_discard_sectors: 4194303, // QEMU's BDRV_REQUEST_MAX_SECTORS.
  max_write_zeroes_sectors: 4194303,
  write_cache: true,
};

/** Recorded: `ahci`; with the 4096-byte physical blocks of a 512e disk (IDENTIFY word 106). */
const SATA: LimitsInput = {
  physical_block_size: 4096,
  max_hw_sectors: 65535,
  max_dev_sectors: 65535,
  max_segments: 168,
  max_segment_size: 65536,
  max_hw_discard_sectors: 4194240, // TRIM: 64 ranges of 65535 sectors in one 512-byte payload.
  write_cache: true, // libata leaves FUA off.
};

/** `sata` with 4096-byte logical blocks: the hard limit rounds down to 65528 sectors. */
const NATIVE_4K: LimitsInput = { ...SATA, logical_block_size: 4096 };

/** A regular file under O_DIRECT on a disk with 512-byte blocks and a file system with 4096. */
const FILE: LimitsInput = {
  physical_block_size: 4096,
  max_hw_sectors: 4194296, // MAX_RW_COUNT, 2 GiB - 4096.
  max_segments: 1024, // UIO_MAXIOV of one preadv2.
  max_segment_size: UINT32_MAX,
  seg_boundary_mask: Number.MAX_SAFE_INTEGER,
  max_hw_discard_sectors: UINT32_MAX, // fallocate with PUNCH_HOLE takes any length.
  max_write_zeroes_sectors: UINT32_MAX, // fallocate with ZERO_RANGE.
  write_cache: true,
  fua: true, // RWF_DSYNC.
};

/** Memory: only what the fields themselves can hold limits it. */
const UNLIMITED: LimitsInput = {
  max_hw_sectors: UINT32_MAX,
  max_user_sectors: UINT32_MAX, // Lifts the soft cap of max_sectors.
  max_segments: SEGMENT_COUNT_MAX,
  max_segment_size: UINT32_MAX,
  seg_boundary_mask: Number.MAX_SAFE_INTEGER,
  dma_alignment: 0,
  max_integrity_segments: SEGMENT_COUNT_MAX,
  max_hw_discard_sectors: UINT32_MAX,
  max_discard_segments: SEGMENT_COUNT_MAX,
  max_write_zeroes_sectors: UINT32_MAX,
  max_secure_erase_sectors: UINT32_MAX,
};

const PRESETS = {
  nvme: validateLimits(NVME),
  virtio: validateLimits(VIRTIO),
  sata: validateLimits(SATA),
  '4kn': validateLimits(NATIVE_4K),
  file: validateLimits(FILE),
  unlimited: validateLimits(UNLIMITED),
} as const satisfies Readonly<Record<string, Limits>>;

export type PresetName = keyof typeof PRESETS;
export const PRESET_NAMES: readonly PresetName[] = Object.keys(PRESETS) as PresetName[];

function isPresetName(name: string): name is PresetName {
  return Object.hasOwn(PRESETS, name);
}

/** Throws BlockError EINVAL that lists the names. */
export function presetLimits(name: string): Limits {
  if (isPresetName(name)) return PRESETS[name];
  const reason = `limits preset '${name}' is none of ${PRESET_NAMES.join(', ')}`;
  throw new BlockError('EINVAL', { reason });
}

/**
 * The limits in a JSON file, an object with the names of Limits: `{ "max_segments": 4 }`.
 * What is absent gets its default; a max_sectors counts. Throws BlockError EINVAL.
 */
export function parseLimitsFile(json: string): Limits {
  const value = parseJson(json);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const reason = 'a limits file must hold one JSON object, like { "max_segments": 4 }';
    throw new BlockError('EINVAL', { reason });
  }
  const known: ReadonlySet<string> = new Set(LIMIT_NAMES);
  for (const key of Object.keys(value)) {
    if (known.has(key)) continue;
    const reason = `limits file: '${key}' is no limit; the nearest is '${nearestLimitName(key)}'`;
    throw new BlockError('EINVAL', { reason });
  }
  return fromEffective(value as LimitsInput); // Types of the values are checked there.
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new BlockError('EINVAL', { reason: `a limits file must be JSON: ${detail}`, cause });
  }
}

/** By edits per letter: counted alone, `chunk` would be nearer to `fua` than to `chunk_sectors`. */
function nearestLimitName(key: string): string {
  let nearest = '';
  let distance = Number.POSITIVE_INFINITY;
  for (const name of LIMIT_NAMES) {
    const edits = editDistance(key.toLowerCase(), name);
    const candidate = edits / Math.max(key.length, name.length);
    if (candidate >= distance) continue;
    nearest = name;
    distance = candidate;
  }
  return nearest;
}

/** Insertions, deletions and substitutions that turn `a` into `b`; one row of the table kept. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
