import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BlockError } from '../../src/base/block-error.ts';
import { type Probe, ProbePoint } from '../../src/base/probe.ts';
import { parseSize } from '../../src/base/units.ts';
import { BIO_OP_NAMES, BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { refusal } from '../../src/map/decide.ts';
import {
  type CopyPolicy,
  MAP_REASON_NAMES,
  VERDICT_NAMES,
  Verdict,
} from '../../src/map/verdict.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HOLD_NAMES } from '../../src/memory/holds.ts';
import type { Request } from '../../src/queue/request.ts';
import { SegmentCursor } from '../../src/queue/request.ts';
import { type CaseArgs, runTextCases } from '../../src/testing/text-cases.ts';

// test/cases/map.txt: one transfer each, from the verdict to the requests and the counts.
//
//   map write at=512 max_segments=1
//   iov 0+4k 12k+512 outside+100
//
// A range is OFFSET+LENGTH of an arena buffer that starts on a page; `copy=never` is the policy,
// everything else a limit by its sysfs name.

const HEAP_BYTES = 2 ** 20;

runTextCases(join(import.meta.dirname, '..', 'cases', 'map.txt'), { map: runCase });

function runCase(args: CaseArgs, body: string): string {
  const { at = '0', copy = 'auto', read, write: _write, ...limits } = args;
  const op = read === undefined ? BioOp.WRITE : BioOp.READ;
  using arena = new Arena({ maxBytes: 4 * 2 ** 20, label: 'map cases' });
  const heap = arena.alloc(HEAP_BYTES, 'heap');
  const defer = (run: () => void): void => queueMicrotask(run);
  const engine = openRamEngine({ sizeBytes: 2 ** 20, limits: limitsOf(limits), defer });
  const device = new BlockDevice({ engine, arena });
  const iter = iterOf(body, heap.bytes, op);
  const lines: string[] = [];
  device.probe = probeOf(lines, heap.page);
  let result: number | null = null;
  const options = { copy: copy as CopyPolicy };
  const transfer = device.transfer(op, parseSize(at), iter, iter.count, options, (done, bytes) => {
    result = bytes;
    const { reason, verdict } = done.mapping;
    if (verdict !== Verdict.REFUSE) return;
    const sentence = refusal(reason, device.limits, device.context.blockBytes);
    lines.push(`refused: ${sentence}`);
  });
  while (result === null) device.poll();
  assert.ok(transfer !== null);
  const copied = Object.entries(device.counters.copiedByReason()).map((pair) => pair.join(' '));
  const counts = copied.length > 0 ? `, copied: ${copied.join(', ')}` : '';
  lines.push(`result ${String(result)}, mapped ${device.counters.bytesMapped}${counts}`);
  device.assertNothingOutstanding();
  heap.release();
  return lines.join('\n');
}

function limitsOf(args: CaseArgs): LimitsInput {
  const input: Record<string, number> = { dma_alignment: 0 };
  for (const [name, text] of Object.entries(args)) input[name] = parseSize(text);
  return input;
}

function iterOf(body: string, heap: Uint8Array, op: BioOp): IovIter {
  const [word, ...ranges] = body.trim().split(/\s+/);
  if (word !== 'iov') throw new BlockError('EINVAL', { reason: `'${word}' is not 'iov'` });
  const views = ranges.map((range) => {
    const [start = '', len = ''] = range.split('+');
    if (start === 'outside') return new Uint8Array(parseSize(len));
    return heap.subarray(parseSize(start), parseSize(start) + parseSize(len));
  });
  const iovec = new Iovec(Math.max(views.length, 1));
  iovec.importViews(views);
  const iter = new IovIter();
  iter.initBytes(op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE, iovec);
  return iter;
}

function probeOf(lines: string[], firstPage: number): Probe {
  const cursor = new SegmentCursor();
  return {
    hit(point, _traceId, subject, a, b, c) {
      if (point === ProbePoint.MAP) {
        const { middleReason } = subject as { readonly middleReason: number };
        const middle = middleReason === b ? '' : `, the middle ${MAP_REASON_NAMES[middleReason]}`;
        lines.push(`${VERDICT_NAMES[a]}: ${MAP_REASON_NAMES[b]}${middle}`);
      }
      if (point !== ProbePoint.ISSUE) return;
      const request = subject as Request;
      const segments: string[] = [];
      cursor.start(request);
      while (cursor.next()) segments.push(segmentText(cursor, firstPage));
      lines.push(`${BIO_OP_NAMES[a]} ${b * 512}+${c * 512}: ${segments.join(' ')}`);
    },
  };
}

/** A byte of the program's memory, or own pages: which ones is nobody's business. */
function segmentText(cursor: SegmentCursor, firstPage: number): string {
  const start = (cursor.page - firstPage) * 4096 + cursor.offset;
  const isOwn = start < 0 || start >= HEAP_BYTES;
  return `${isOwn ? HOLD_NAMES[3] : start}+${cursor.len}`;
}
