import { formatSize, SECTOR_BYTES } from '../../base/units.ts';
import {
  hasRefTag,
  IntegrityFlag,
  type IntegrityProfile,
} from '../../integrity/integrity-profile.ts';
import { LIMIT_NAMES, type LimitName, type Limits, UINT32_MAX } from '../../limits/limits.ts';

export interface ExtentSummary {
  readonly data: number;
  readonly dataBytes: number;
  readonly holes: number;
  readonly holeBytes: number;
}

export interface EngineState {
  readonly name: string;
  readonly isAvailable: boolean;
  readonly reason: string;
}

export interface TargetInfo {
  readonly target: string;
  readonly kind: string;
  readonly sizeBytes: number;
  /** Requests at once. */
  readonly depth: number;
  readonly byteGranular: boolean;
  readonly fixedSize: boolean;
  /** Metadata beside the data; null: none. */
  readonly integrity: IntegrityProfile | null;
  /** What opening found out, and how. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
  readonly limits: Limits;
  readonly extents: ExtentSummary;
  /** null: not asked for. */
  readonly engines: readonly EngineState[] | null;
}

/** How limits were found, for people; the word is a fact of the engine. */
const FOUND_BY: Readonly<Record<string, string>> = {
  assumed: 'those of the system call interface; any offset and length will do',
  statx: 'statx told the alignment of O_DIRECT',
  trial: 'O_DIRECT was tried with ever smaller blocks',
  sysfs: 'from /sys/dev/block',
  ioctl: 'asked by ioctl, without sysfs',
};

const NAME_WIDTH = 30;

export function infoLines(info: TargetInfo): string[] {
  const { facts, extents, limits } = info;
  const type = String(facts['type'] ?? 'memory');
  const unit = info.byteGranular ? 'byte' : formatSize(limits.logical_block_size);
  const grows = info.fixedSize ? 'fixed' : 'a write at the end makes it longer';
  const lines = [
    line('target', info.target),
    line('kind', `${info.kind} (${type})`),
    line('size', `${formatSize(info.sizeBytes)} (${info.sizeBytes} bytes), ${grows}`),
    line('unit of transfers', unit),
    line('requests at once', `${info.depth}`),
    line('metadata', metadataText(info.integrity)),
    line('extents', extentText(extents, facts['extents'] !== 'unknown')),
  ];
  for (const [name, value] of Object.entries(facts)) {
    if (['type', 'extents', 'limits'].includes(name)) continue;
    lines.push(line(name, value === true ? 'yes' : value === false ? 'no' : `${value}`));
  }
  const found = String(facts['limits'] ?? 'memory');
  lines.push('', line('limits', FOUND_BY[found] ?? 'memory has none but those of the fields'));
  for (const name of LIMIT_NAMES) lines.push(line(`  ${name}`, limitText(name, limits)));
  if (info.engines !== null) {
    lines.push('', 'engines');
    for (const { name, isAvailable, reason } of info.engines) {
      lines.push(line(`  ${name}`, `${isAvailable ? 'yes' : 'no'}: ${reason}`));
    }
  }
  return lines;
}

/** `crc64: 16 bytes for each 512, tuple at byte 0, ref tags count, the device checks`. */
function metadataText(profile: IntegrityProfile | null): string {
  if (profile === null) return 'none beside the data';
  const { csum, metadata_size, interval_exp, pi_offset, flags } = profile;
  const parts = [`${csum}: ${metadata_size} bytes for each ${2 ** interval_exp}`];
  if (csum !== 'none') parts.push(`tuple at byte ${pi_offset}`);
  if (hasRefTag(profile)) parts.push('ref tags count');
  if ((flags & IntegrityFlag.DEVICE_CAPABLE) !== 0) parts.push('the device checks');
  return parts.join(', ');
}

function line(name: string, value: string): string {
  return `${name.padEnd(NAME_WIDTH)}${value}`;
}

function extentText(extents: ExtentSummary, isKnown: boolean): string {
  if (!isKnown) return 'unknown: all of it counts as data';
  const data = `${extents.data} of data (${formatSize(extents.dataBytes)})`;
  return `${data}, ${extents.holes} of holes (${formatSize(extents.holeBytes)})`;
}

/** The number as sysfs has it, and what it means. */
function limitText(name: LimitName, limits: Limits): string {
  const value = limits[name];
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === UINT32_MAX) return `${value} (no limit)`;
  if (name.endsWith('_mask') || name === 'dma_alignment') {
    if (value === 0) return '0 (none)';
    return value === Number.MAX_SAFE_INTEGER ? 'none' : `${value} (${formatSize(value + 1)})`;
  }
  if (value > 0 && name.endsWith('_sectors')) {
    return `${value} (${formatSize(value * SECTOR_BYTES)})`;
  }
  return `${value}`;
}
