import { BlockError } from '../../base/block-error.ts';
import { formatSize, PAGE_BYTES } from '../../base/units.ts';
import type { HoldEntry } from '../../memory/hold-source.ts';
import type { HoldEvent, MapEvent, TraceEvent } from '../../trace/event.ts';

/** A hold of a recorded run, from its first event to its last. */
export interface RecordedHold extends HoldEntry {
  /** Line of the record that took it, from 1. */
  readonly line: number;
  /** Line and time of the release; null: it never came. */
  readonly releasedLine: number | null;
  readonly releasedNs: number | null;
}

/** A line of the record: `target` where there is more than one device. */
type RecordedEvent = TraceEvent & { readonly target?: string };
type RecordedHoldEvent = HoldEvent & { readonly target?: string };

interface OpenHold {
  readonly hold: Omit<RecordedHold, 'releasedLine' | 'releasedNs'>;
  readonly key: string;
}

/**
 * Who held what in a run that was written as events, one JSON object a line (`biovec copy --trace`,
 * `biovec explain --json`). Throws EINVAL, naming the line, when it is something else.
 */
export function recordedHolds(text: string): RecordedHold[] {
  const calls = new Map<string, string>();
  const open: OpenHold[] = [];
  const holds: RecordedHold[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const event = parseEvent(line, index + 1);
    if (event.type === 'map') calls.set(transferOf(event), callOf(event));
    if (event.type === 'hold') open.push(...opened(event, index + 1, calls));
    if (event.type === 'release') holds.push(...released(event, index + 1, open));
  }
  const left = open.map(({ hold }) => ({ ...hold, releasedLine: null, releasedNs: null }));
  return [...holds, ...left].sort((a, b) => a.line - b.line);
}

/** What was held after `line`. */
export function heldAt(holds: readonly RecordedHold[], line: number): RecordedHold[] {
  return holds.filter(
    (hold) => hold.line <= line && (hold.releasedLine === null || hold.releasedLine > line),
  );
}

function parseEvent(line: string, number: number): RecordedEvent {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event === 'object' && event !== null && 'type' in event)
      return event as RecordedEvent;
  } catch {
    // Said below.
  }
  const reason = `line ${number} is no event of a recorded run`;
  throw new BlockError('EINVAL', { reason });
}

function callOf(event: MapEvent & { readonly target?: string }): string {
  const { op, bytes, position, target } = event;
  return `${op} ${formatSize(bytes)} at ${position}${target === undefined ? '' : ` of ${target}`}`;
}

/** Trace ids are those of one device. */
function transferOf({ target, trace }: RecordedEvent): string {
  return `${trace} ${target ?? ''}`;
}

function opened(
  event: RecordedHoldEvent,
  line: number,
  calls: ReadonlyMap<string, string>,
): OpenHold[] {
  return event.segments.map(({ address, bytes }) => {
    const page = Math.floor(address / PAGE_BYTES);
    const hold = {
      page,
      pages: Math.floor((address + bytes - 1) / PAGE_BYTES) - page + 1,
      kind: event.hold,
      by: calls.get(transferOf(event)) ?? `transfer ${event.trace}`,
      sinceNs: event.atNs ?? 0,
      traceId: event.trace,
      line,
    };
    return { hold, key: keyOf(event, address, bytes) };
  });
}

function released(event: RecordedHoldEvent, line: number, open: OpenHold[]): RecordedHold[] {
  const holds: RecordedHold[] = [];
  for (const { address, bytes } of event.segments) {
    const at = open.findIndex(({ key }) => key === keyOf(event, address, bytes));
    if (at < 0) {
      const reason = `line ${line} releases page ${Math.floor(address / PAGE_BYTES)}, not held`;
      throw new BlockError('EINVAL', { reason });
    }
    const [{ hold }] = open.splice(at, 1) as [OpenHold];
    holds.push({ ...hold, releasedLine: line, releasedNs: event.atNs ?? 0 });
  }
  return holds;
}

function keyOf(event: RecordedHoldEvent, address: number, bytes: number): string {
  return `${transferOf(event)} ${event.hold} ${address} ${bytes}`;
}
