// What the text cases of this folder mean: bios in, requests out, through the real queue.

import assert from 'node:assert/strict';
import { errnoName } from '../../src/base/errno.ts';
import { SECTOR_BYTES } from '../../src/base/units.ts';
import { type Bio, BioState } from '../../src/bio/bio.ts';
import { addSegment } from '../../src/bio/bio-add.ts';
import { BIO_OP_NAMES, type BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import {
  maxIoBytes,
  SPLIT_CAUSE_NAMES,
  SplitPoint,
  splitPoint,
} from '../../src/bio/split-point.ts';
import type { Limits, LimitsInput } from '../../src/limits/limits.ts';
import { DEFAULT_PROFILE, profileNamed } from '../../src/limits/profile.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { BlockQueue } from '../../src/queue/block-queue.ts';
import type { Request } from '../../src/queue/request.ts';
import { RequestTable } from '../../src/queue/request-table.ts';
import type { CaseArgs, CaseHandler } from '../../src/testing/text-cases.ts';

const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 * 1024 };

/** `4k`, `1m`, `3584`, `0xfff`. */
function number(text: string): number {
  const unit = UNITS[text.slice(-1)];
  const value = unit === undefined ? Number(text) : Number(text.slice(0, -1)) * unit;
  assert.ok(Number.isSafeInteger(value), `'${text}' is no number`);
  return value;
}

function size(bytes: number): string {
  if (bytes >= 1024 * 1024 && bytes % (1024 * 1024) === 0) return `${bytes / (1024 * 1024)}m`;
  return bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024}k` : String(bytes);
}

/** `max-segments=4` → max_segments; `max-sectors` is what the hardware can. */
export function limitsOf(args: CaseArgs): Limits {
  const entries = Object.entries(args)
    .filter(([name]) => name !== 'profile')
    .map(([name, value]) => [
      name === 'max-sectors' ? 'max_hw_sectors' : name.replaceAll('-', '_'),
      number(value),
    ]);
  return validateLimits(Object.fromEntries(entries) as LimitsInput);
}

const LINE =
  /^(read|write|flush|discard|secure-erase|write-zeroes) sector=(\d+)(?:\+(\d+)|: (.*))$/;
const PIECE = /^p(\w+)\+(\w+):(\w+)$/;

/** `write sector=0: p7+0:4k p9+0:4k` has segments, `discard sector=0+8` names sectors. */
function readBio(pool: BioPool, line: string): Bio {
  const match = LINE.exec(line.trim());
  assert.ok(match !== null, `'${line}' is no bio`);
  const [, op, sector, sectors, segments = ''] = match;
  const code = BIO_OP_NAMES.indexOf(op as (typeof BIO_OP_NAMES)[number]) as BioOp;
  const pieces = segments.split(/\s+/).filter((word) => word !== '');
  const bio = pool.acquire(code, Number(sector), pieces.length);
  assert.ok(bio !== null);
  bio.size = Number(sectors ?? 0) * SECTOR_BYTES;
  for (const piece of pieces) {
    const [, page = '', offset = '', len = ''] = PIECE.exec(piece) ?? [];
    addSegment(bio, number(page), number(offset), number(len), HoldKind.BORROWED);
  }
  return bio;
}

function rowsOf(bio: Bio): string {
  const { page, offset, len } = bio.table;
  const out: string[] = [];
  let skip = bio.done;
  let left = bio.hasData ? bio.size : 0;
  for (let row = bio.row; left > 0; row++, skip = 0) {
    const bytes = Math.min(len[row] - skip, left);
    out.push(`p${page[row]}+${offset[row] + skip}:${size(bytes)}`);
    left -= bytes;
  }
  return out.join(' ');
}

function describe(
  op: BioOp,
  sector: number,
  bytes: number,
  segments: number,
  rows: string,
): string {
  const place = `sector=${sector}+${bytes / SECTOR_BYTES} segments=${segments}`;
  return `${BIO_OP_NAMES[op]} ${place}${rows === '' ? '' : `: ${rows}`}`;
}

/** The pieces of one bio, each with the limit that ended it. */
const split: CaseHandler = (args, body) => {
  const limits = limitsOf(args);
  const pool = new BioPool({ bios: 500, rows: 500 });
  const point = new SplitPoint();
  const bio = readBio(pool, body);
  bio.state = BioState.BUILT;
  const lines: string[] = [];
  for (;;) {
    splitPoint(bio, limits, point);
    if (point.bytes < 0) {
      lines.push(`error ${errnoName(point.bytes)}`);
      break;
    }
    const front = point.bytes > 0 ? pool.splitFront(bio, point.bytes) : bio;
    assert.ok(front !== null);
    const { op, sector, size: bytes } = front;
    const cause = front === bio ? '' : ` ends by ${SPLIT_CAUSE_NAMES[point.cause]}`;
    lines.push(describe(op, sector, bytes, point.segments, rowsOf(front)) + cause);
    if (front === bio) break;
  }
  return lines.join('\n');
};

const maxIo: CaseHandler = (args) => {
  const { sector = '0', ...rest } = args;
  return String(maxIoBytes(Number(sector), limitsOf(rest)) / SECTOR_BYTES);
};

/** All bios under one plug: the requests in order of issue, ` | ` between their bios. */
const merge: CaseHandler = (args, body) => {
  const pool = new BioPool({ bios: 200, rows: 2000 });
  const splitPool = new BioPool({ bios: 200, rows: 1 });
  const table = new RequestTable(200);
  const requests: Request[] = [];
  const lines: string[] = [];
  const sink = {
    submit: (tags: Uint32Array, first: number, count: number): number => {
      for (let i = first; i < first + count; i++) {
        const request = table.get(tags[i]);
        const bios: string[] = [];
        for (let bio = request.bio; bio !== null; bio = bio.next) {
          bios.push(bio.hasData ? rowsOf(bio) : `${bio.sector}+${bio.sectors}`);
        }
        const { op, sector, bytes, segments } = request;
        lines.push(describe(op, sector, bytes, segments, bios.join(' | ')));
        requests.push(request);
      }
      return count;
    },
  };
  const profile = profileNamed(args['profile'] ?? DEFAULT_PROFILE.name);
  const limits = limitsOf(args);
  const queue = new BlockQueue({ limits, profile, table, sink, splitPool });
  queue.startPlug();
  for (const line of body.split('\n')) {
    const bio = readBio(pool, line);
    bio.endIo = (ended) => {
      if (ended.status !== 0) lines.push(`error ${errnoName(ended.status)}`);
      pool.release(ended);
    };
    queue.submitBio(bio);
  }
  queue.finishPlug();
  queue.endFailed(100);
  for (const request of requests) queue.finishRequest(request, 0, request.bytes);
  assert.equal(table.busyCount + pool.busyCount + splitPool.busyCount, 0, 'something is left');
  assert.equal(queue.inFlight, 0);
  return lines.join('\n');
};

export const QUEUE_HANDLERS = { split, merge, 'max-io': maxIo };
