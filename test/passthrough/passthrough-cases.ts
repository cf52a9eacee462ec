import assert from 'node:assert/strict';
import { errnoName } from '../../src/base/errno.ts';
import { PAGE_BYTES, parseSize } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { PROFILES, type Profile } from '../../src/limits/profile.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { type CopyPolicy, MAP_REASON_NAMES, VERDICT_NAMES } from '../../src/map/verdict.ts';
import type { CaseArgs } from '../../src/testing/text-cases.ts';
import {
  biosOf,
  chainOf,
  endRequest,
  PassthroughRig,
  rowsOf,
  type UserRange,
} from './passthrough-rig.ts';

// cases.txt: one request each, as every profile maps it.
//
//   map-user read max_segments=128 copy=never
//   scattered 1m
//   scattered 512k at=512
//
// A line is a range of the program: its pages are `scattered`, one `huge` folio, or never touched
// (`absent`), and it starts `at` bytes into them. `driver=4` gives four pages of the driver.

type Line = readonly [kind: string, bytes: number, at: number];

const FLAGS = ['read', 'write', 'copy', 'driver', 'null', 'fragmented'];

export function mapUserCase(args: CaseArgs, body: string): string {
  const lines = body.trim().split('\n').map(parseLine);
  const answers = PROFILES.map((profile) => [profile.name, answerOf(args, lines, profile)]);
  const texts = new Set(answers.map(([, text]) => text));
  if (texts.size === 1) return `all: ${String(answers[0]?.[1])}`;
  return answers.map(([name, text]) => `${name}: ${text}`).join('\n');
}

function parseLine(line: string): Line {
  const [kind = '', bytes = '', at = 'at=0'] = line.trim().split(/\s+/);
  return [kind, parseSize(bytes), parseSize(at.slice('at='.length))];
}

function answerOf(args: CaseArgs, lines: readonly Line[], profile: Profile): string {
  const limits: Record<string, number> = { dma_alignment: 511 };
  for (const [name, text] of Object.entries(args)) {
    if (!FLAGS.includes(name)) limits[name] = Number(text) || parseSize(text);
  }
  using rig = new PassthroughRig({ limits: limits as LimitsInput, profile, ownPages: 4096 });
  const op = args['write'] === undefined ? BioOp.READ : BioOp.WRITE;
  const iter = rig.iter(
    op,
    lines.map((line) => rangeOf(rig, line)),
  );
  const fragmented = Number(args['fragmented'] ?? '0');
  using _taken = fragmented > 0 ? rig.fragment(fragmented) : null;
  const driver = Number(args['driver'] ?? '0');
  const memory = driver > 0 ? driverPages(rig, driver, args['null'] !== undefined) : null;
  const text = mapOnce(rig, op, iter, (args['copy'] ?? 'auto') as CopyPolicy, memory);
  if (memory !== null) for (const page of memory.pages) rig.own.putFolio(page);
  return text;
}

function rangeOf(rig: PassthroughRig, [kind, bytes, at]: Line): UserRange {
  const pages = Math.ceil((at + bytes) / PAGE_BYTES);
  switch (kind) {
    case 'scattered':
      return [rig.scattered(pages) + at, bytes];
    case 'huge':
      return [rig.huge(9) + at, bytes];
    case 'absent':
      return [2 ** 40 + at, bytes];
    default:
      return assert.fail(`no memory of kind '${kind}'`);
  }
}

function driverPages(rig: PassthroughRig, count: number, isNull: boolean): RequestMemory {
  const both = Array.from({ length: 2 * count }, () => rig.own.getFolio(0));
  const pages = both.filter((_, i) => i % 2 === 0);
  for (const page of both) if (!pages.includes(page)) rig.own.putFolio(page);
  const memory = new RequestMemory(Uint32Array.from(pages), 0);
  memory.isNullMapped = isNull;
  return memory;
}

function mapOnce(
  rig: PassthroughRig,
  op: BioOp,
  iter: IovIter,
  copy: CopyPolicy,
  memory: RequestMemory | null,
): string {
  const chain = chainOf(op);
  const result = rig.map(chain, iter, { copy, memory });
  const { verdict, reason } = rig.outcome;
  const why = `${VERDICT_NAMES[verdict]} ${MAP_REASON_NAMES[reason]}`;
  if (result !== 0) return `-${errnoName(result)} (${why})`;
  const bios = biosOf(chain).length;
  const rows = rowsOf(chain);
  const counts = `${bios} ${bios === 1 ? 'bio' : 'bios'}, ${chain.segments} segments`;
  const text = `${why}: ${counts}, rows ${runsOf(rows.map(({ len }) => len))}`;
  endRequest(chain);
  const end = rig.unmap(chain);
  return end === 0 ? text : `${text}, unmap -${errnoName(end)}`;
}

/** 4096 4096 512 → `2x4k 512`. */
function runsOf(lens: readonly number[]): string {
  const out: string[] = [];
  for (let i = 0; i < lens.length; ) {
    let end = i;
    while (lens[end] === lens[i]) end++;
    const bytes = lens[i] as number;
    const size = bytes % 1024 === 0 ? `${bytes / 1024}k` : String(bytes);
    out.push(end - i > 1 ? `${end - i}x${size}` : size);
    i = end;
  }
  return out.join(' ');
}
