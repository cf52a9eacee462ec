import { cpuVerdictOf, type Row, verdictOf } from './row.ts';
import type { Summary } from './stats.ts';

// How figures are written: on the terminal, as a table of docs/performance.md, as a chart.

export function numberText(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : 2);
}

/** '1,234 ±5 %': the median, and half of (max - min) / median. */
export function summaryText(summary: Summary): string {
  return `${numberText(summary.median)} ±${Math.round((summary.spread / 2) * 100)} %`;
}

function targetText(row: Row): string {
  const verdict = verdictOf(row);
  if (row.target === undefined || verdict === 'none') return '';
  return `${verdict === 'meets' ? 'meets' : 'SHORT OF'} ${numberText(row.target)}`;
}

/** One row for the terminal, in one to three lines. */
export function rowText(row: Row): string {
  const { peer, ratio, cpu, rssMib, noise, cells = {}, notes = {} } = row;
  const indent = ' '.repeat(28);
  const lines = [`${row.name.padEnd(27)} ${summaryText(row.ours)} ${row.unit}  ${targetText(row)}`];
  const than = peer === undefined ? '' : `${peer.name} ${summaryText(peer.figure)}`;
  if (ratio !== undefined) lines.push(`${indent}${than}  ratio ${summaryText(ratio)}`);
  const facts = Object.entries({ ...cells, ...notes }).map(([name, value]) => `${name}: ${value}`);
  if (rssMib !== undefined) facts.unshift(`RSS ${pairText(rssMib.ours, rssMib.peer, 0)} MiB`);
  for (const [part, value] of Object.entries(row.parts ?? {})) {
    facts.push(`${part} ${numberText(value)}`);
  }
  if (noise !== undefined) facts.push(`machine ±${Math.round((noise.spread / 2) * 100)} %`);
  if (cpu !== undefined)
    facts.unshift(`CPU ${pairText(cpu.ours, cpu.peer, 2)} ${cpu.unit}${cpuText(row)}`);
  if (facts.length > 0) lines.push(indent + facts.join(', '));
  return lines.join('\n');
}

function cpuText(row: Row): string {
  const { cpu } = row;
  if (cpu?.peer === undefined) return '';
  const ratio = ` (${(cpu.ours / cpu.peer).toFixed(2)})`;
  return cpuVerdictOf(row) === 'short' ? `${ratio} OVER ${cpu.target}` : ratio;
}

/** '2.29 : 1.07', ours first. */
function pairText(ours: number, peer: number | undefined, digits: number): string {
  return peer === undefined
    ? ours.toFixed(digits)
    : `${ours.toFixed(digits)} : ${peer.toFixed(digits)}`;
}

const HEADINGS = ['Row', 'Ours', 'Peer', 'Ratio', 'Target', 'CPU', 'RSS, MiB'];

/**
 * The tables of docs/performance.md: figures beside their peers, where their time goes, and those
 * with figures for several conditions.
 */
export function markdownTables(rows: readonly Row[]): string {
  const whole = rows.filter(({ parts, cells }) => parts === undefined && cells === undefined);
  const parted = rows.filter(({ parts }) => parts !== undefined);
  const byCells = Map.groupBy(
    rows.filter(({ cells }) => cells !== undefined),
    ({ cells = {} }) => Object.keys(cells).join('\n'),
  );
  return [
    ...(whole.length > 0 ? [figuresTable(whole)] : []),
    ...(parted.length > 0 ? [partsTable(parted)] : []),
    ...[...byCells.values()].map(cellsTable),
  ].join('\n\n');
}

/** A column for each condition, and before them the figure of the row with its spread. */
function cellsTable(rows: readonly Row[]): string {
  const [{ unit, cells = {} }] = rows;
  const lines = rows.map((row) => [
    `\`${row.name}\``,
    row.ours.spread === 0 ? numberText(row.ours.median) : summaryText(row.ours),
    ...Object.values(row.cells ?? {}).map(String),
  ]);
  return table(['Row', unit, ...Object.keys(cells)], lines);
}

/** A column for each part that any row has, in the order of their sums. */
function partsTable(rows: readonly Row[]): string {
  const sums = new Map<string, number>();
  for (const { parts = {} } of rows) {
    for (const [part, value] of Object.entries(parts)) {
      sums.set(part, (sums.get(part) ?? 0) + value);
    }
  }
  const names = [...sums].sort(([, a], [, b]) => b - a).map(([name]) => name);
  const lines = rows.map((row) => {
    const cells = names.map((name) => {
      const value = row.parts?.[name];
      return value === undefined ? '' : numberText(value);
    });
    return [`\`${row.name}\``, `${numberText(row.ours.median)} ${row.unit}`, ...cells];
  });
  return table(['Row', 'All', ...names], lines);
}

function table(headings: readonly string[], lines: readonly (readonly string[])[]): string {
  const rule = `|${headings.map(() => '---').join('|')}|`;
  const text = [headings, ...lines].map((cells) => `| ${cells.map(escapeCell).join(' | ')} |`);
  return [text[0], rule, ...text.slice(1)].join('\n');
}

function figuresTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const { peer, ratio, cpu, rssMib, target } = row;
    return [
      `\`${row.name}\``,
      `${summaryText(row.ours)} ${row.unit}`,
      peer === undefined ? '' : `${peer.name} ${summaryText(peer.figure)}`,
      ratio === undefined ? '' : summaryText(ratio),
      target === undefined ? '' : targetCell(row),
      cpu === undefined ? '' : `${pairText(cpu.ours, cpu.peer, 2)} ${cpu.unit}${cpuCell(row)}`,
      rssMib === undefined ? '' : pairText(rssMib.ours, rssMib.peer, 0),
    ];
  });
  return table(HEADINGS, lines);
}

function targetCell(row: Row): string {
  const sign = row.lessIsBetter === true && row.ratio === undefined ? 'at most ' : '';
  const verdict = { meets: 'met', short: '**short**', none: 'not measured' }[verdictOf(row)];
  return `${sign}${numberText(row.target ?? Number.NaN)}: ${verdict}`;
}

function cpuCell(row: Row): string {
  const { cpu } = row;
  if (cpu?.peer === undefined) return '';
  const ratio = (cpu.ours / cpu.peer).toFixed(2);
  if (cpu.target === undefined) return ` = ${ratio}`;
  const verdict = cpuVerdictOf(row) === 'meets' ? 'met' : '**short**';
  return ` = ${ratio}, at most ${cpu.target}: ${verdict}`;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** What of a machine's figures a reader wants beside them. */
export function noiseText(rows: readonly Row[]): string {
  const spreads = rows.flatMap(({ noise }) => (noise === undefined ? [] : [noise.spread / 2]));
  if (spreads.length === 0) return 'the noise of the machine was not measured';
  const worst = Math.round(Math.max(...spreads) * 100);
  const sentence = `the same arithmetic took up to ±${worst} % longer or shorter within a row`;
  return worst > QUIET_PERCENT ? `${sentence}: this machine was NOT QUIET` : sentence;
}

/** Above it figures are not worth recording. */
const QUIET_PERCENT = 15;

const BEGIN = '<!-- bench: figures of `npm run bench -- --into`, not written by hand -->\n';
const END = '<!-- bench: end -->\n';

/** `text` with `tables` between its two marks. Throws when it has not exactly these. */
export function intoMarks(text: string, tables: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  const isOnce = begin === text.lastIndexOf(BEGIN) && end === text.lastIndexOf(END);
  if (begin < 0 || end < begin || !isOnce) {
    throw new Error(`the file has to have these lines once, in this order:\n${BEGIN}${END}`);
  }
  return `${text.slice(0, begin + BEGIN.length)}\n${tables}\n${text.slice(end)}`;
}
