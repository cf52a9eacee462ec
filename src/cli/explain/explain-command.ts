import { readFileSync, statSync } from 'node:fs';
import { BlockError } from '../../base/block-error.ts';
import { formatSize, MIB } from '../../base/units.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { PRESET_NAMES, parseLimitsFile, presetLimits } from '../../limits/presets.ts';
import { type Profile, profileNamed } from '../../limits/profile.ts';
import { fromEffective, validateLimits } from '../../limits/validate.ts';
import type { CopyPolicy } from '../../map/verdict.ts';
import { parseMemoryOptions } from '../../targets/memory-options.ts';
import type { AddressRange } from '../arguments.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { type ControllerChoice, controllerLimits } from './explain-engine.ts';
import { explainLines } from './explain-format.ts';
import { type ExplainRequest, type Explanation, explain } from './explain-run.ts';

/** As commander gives them. */
export interface ExplainFlags {
  readonly iov: readonly AddressRange[];
  readonly limits: string;
  readonly profile: string;
  readonly offset: number;
  readonly copy: CopyPolicy;
  readonly contiguous?: boolean;
  readonly controller?: ControllerChoice['pointer'];
  readonly dma?: ControllerChoice['dma'];
  readonly passthrough?: boolean;
  readonly meta?: readonly AddressRange[];
  readonly pi?: string;
  readonly json?: boolean;
}

/** Each page is looked at on its own, and each step printed. */
const MEMORY_BYTES_MAX = 64 * MIB;
const SEGMENTS_SHOWN = 9;

/** `biovec explain`: exit code 1 when the transfer itself fails or its bytes are wrong. */
export async function runExplain(op: string, flags: ExplainFlags): Promise<ExitCode> {
  if (op !== 'read' && op !== 'write') {
    throw new UsageError(`'${op}' is neither read nor write`);
  }
  const bytes = flags.iov.reduce((sum, range) => sum + range.bytes, 0);
  if (bytes === 0) throw new UsageError('--iov names no byte');
  if (bytes > MEMORY_BYTES_MAX) {
    const most = formatSize(MEMORY_BYTES_MAX);
    throw new UsageError(`--iov names ${formatSize(bytes)}; at most ${most} can be explained`);
  }
  if (!Number.isSafeInteger(flags.offset + bytes)) {
    throw new UsageError('--offset: the transfer would end behind 2^53 - 1 bytes');
  }
  const profile = orUsage('--profile', () => profileNamed(flags.profile));
  const controller = controllerOf(flags);
  const limits = limitsOf(flags.limits, profile);
  const request = {
    op,
    ranges: flags.iov,
    position: flags.offset,
    limits: controller === null ? limits : controllerLimits(limits, controller),
    integrity: flags.pi === undefined ? null : integrityOf(flags.pi, limits),
    profile,
    copy: flags.copy,
    isContiguous: flags.contiguous ?? false,
    controller,
    passthrough: passthroughOf(flags, limits),
  } as const;
  const explanation = await explain(request);
  const lines =
    flags.json === true
      ? jsonLines(explanation, flags.limits)
      : explainLines(explanation, { limitsName: flags.limits, segmentsMax: SEGMENTS_SHOWN });
  process.stdout.write(`${lines.join('\n')}\n`);
  const isGood = explanation.result >= 0 && explanation.isDataRight !== false;
  return isGood ? ExitCode.OK : ExitCode.FAILED;
}

function controllerOf({ controller, dma, pi }: ExplainFlags): ControllerChoice | null {
  if (controller !== undefined && pi !== undefined) {
    throw new UsageError('--pi: the controller of --controller moves no metadata');
  }
  if (controller !== undefined) return { pointer: controller, dma: dma ?? 'iommu' };
  if (dma !== undefined) throw new UsageError('--dma is for --controller');
  return null;
}

function passthroughOf(flags: ExplainFlags, limits: Limits): ExplainRequest['passthrough'] {
  const { controller, passthrough = false, meta = [], offset } = flags;
  if (!passthrough && meta.length > 0) throw new UsageError('--meta is for --passthrough');
  if (!passthrough) return null;
  if (controller === undefined) throw new UsageError('--passthrough is for --controller');
  if (meta.length > 1) throw new UsageError('--meta: one range; a command has one pointer for it');
  if (offset % limits.logical_block_size !== 0) {
    const block = limits.logical_block_size;
    throw new UsageError(`--offset: a command starts at a block of ${block} bytes`);
  }
  const [range = null] = meta;
  return { meta: range };
}

/** A preset or a file, read as the kernel of the profile would have it. */
export function limitsOf(name: string, profile: Profile): Limits {
  return orUsage('--limits', () => {
    if ((PRESET_NAMES as readonly string[]).includes(name)) {
      return validateLimits(presetLimits(name), profile);
    }
    const text = readLimits(name);
    parseLimitsFile(text); // Names and types; the values again, because a profile has defaults.
    return fromEffective(JSON.parse(text) as LimitsInput, profile);
  });
}

/** `crc64`, or with the options of a RAM disk: `crc64,interval=512,metadata-size=64`. */
function integrityOf(text: string, limits: Limits): IntegrityProfile | null {
  return orUsage('--pi', () => {
    const words = [`block=${limits.logical_block_size}`, ...`pi=${text}`.split(',')];
    return parseMemoryOptions(words, 'the device').integrity;
  });
}

function readLimits(path: string): string {
  const presets = PRESET_NAMES.join(', ');
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() === true && stat.size <= MIB) return readFileSync(path, 'utf8');
  const reason = `'${path}' is neither a preset (${presets}) nor a file of JSON`;
  throw new BlockError('EINVAL', { reason });
}

function orUsage<T>(option: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof BlockError) throw new UsageError(`${option}: ${error.reason}`);
    if (code !== undefined) throw new UsageError(`${option}: ${message}`);
    throw error;
  }
}

/** One event a line; the first says what was asked, the last what it came to. */
function jsonLines(explanation: Explanation, limitsName: string): string[] {
  const { request, ranges, bytes, events, counts, result, refusal, isDataRight } = explanation;
  const { op, position, limits, profile, copy, isContiguous, integrity } = request;
  const { controller, passthrough } = request;
  const how = { op, position, bytes, copy, profile: profile.name, isContiguous, integrity };
  const asked = controller === null ? how : { ...how, controller, passthrough };
  const objects = [
    { type: 'transfer', trace: 1, ...asked, limitsName, limits, ranges },
    ...events,
    { type: 'result', trace: 1, result, refusal, isDataRight, counts },
  ];
  return objects.map((object, step) => JSON.stringify({ step, ...object }));
}
