import type { HoldEntry } from '../../memory/hold-source.ts';
import type { ProcessHolds } from '../../node/holds-server.ts';
import type { RecordedHold } from './recorded-holds.ts';

const PAGES_WIDTH = 19;
const KIND_WIDTH = 11;
const AGE_WIDTH = 10;

/** Holds of a process now, source by source. */
export function processLines(report: ProcessHolds): string[] {
  const { pid, nowNs, sources, pinnedPages, unexplainedPages } = report;
  const lines = [`process ${pid}: ${pinnedPages} pages are pinned`];
  for (const { source, holds } of sources) {
    lines.push('', `${source}: ${holds.length} ${holds.length === 1 ? 'hold' : 'holds'}`);
    lines.push(`  ${header('for')}`);
    for (const hold of holds) {
      lines.push(`  ${row(hold, hold.sinceNs === 0 ? '?' : duration(nowNs - hold.sinceNs))}`);
    }
  }
  if (unexplainedPages !== 0) {
    lines.push('', `${unexplainedPages} pinned pages have no owner here: pins by hand, or a leak`);
  }
  return lines;
}

/** Holds of a recorded run; what was never released stands last. */
export function recordedLines(holds: readonly RecordedHold[]): string[] {
  const leaks = holds.filter((hold) => hold.releasedLine === null);
  const lines = [header('for') + 'lines'.padStart(13)];
  for (const hold of holds) {
    const { line, releasedLine, releasedNs, sinceNs } = hold;
    const age = releasedNs === null || sinceNs === 0 ? '?' : duration(releasedNs - sinceNs);
    lines.push(row(hold, age) + `${line}-${releasedLine ?? 'end'}`.padStart(13));
  }
  const pages = holds.reduce((sum, hold) => sum + hold.pages, 0);
  lines.push('', `${holds.length} holds of ${pages} pages, ${leaks.length} never released`);
  for (const { page, pages: count, kind, by } of leaks) {
    lines.push(`  never released: ${pageRange(page, count)}, ${kind} by ${by}`);
  }
  return lines;
}

function header(age: string): string {
  return ['pages'.padEnd(PAGES_WIDTH), 'held'.padEnd(KIND_WIDTH), age.padEnd(AGE_WIDTH), 'by'].join(
    '',
  );
}

function row({ page, pages, kind, by }: HoldEntry, age: string): string {
  const range = pageRange(page, pages);
  return range.padEnd(PAGES_WIDTH) + kind.padEnd(KIND_WIDTH) + age.padEnd(AGE_WIDTH) + by;
}

function pageRange(page: number, pages: number): string {
  return pages === 1 ? `${page}` : `${page}-${page + pages - 1}`;
}

/** 1500 → '1.5 us', 2.5e9 → '2.5 s'. */
function duration(ns: number): string {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(1)} us`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(1)} ms`;
  return `${(ns / 1e9).toFixed(1)} s`;
}
