// `npm run bench [-- ROW…] [--quick] [--json]`: every figure beside its target and, where it has
// one, beside its peer. One process per file of rows, so that no row trains the compiler for
// another. Nothing here fails a build: a bench is a bench.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Row } from './row.ts';
import type { Summary } from './stats.ts';

const rowsFolder = fileURLToPath(new URL('./rows/', import.meta.url));
const files = readdirSync(rowsFolder).filter((name) => name.endsWith('.ts'));
const args = process.argv.slice(2);
const isJson = args.includes('--json');
const wanted = args.filter((arg) => !arg.startsWith('--'));
const known = files.map((name) => name.slice(0, -'.ts'.length));
const unknown = wanted.filter((name) => !known.includes(name));
const flags = args.filter((arg) => arg.startsWith('--') && arg !== '--json');
if (unknown.length > 0 || flags.some((flag) => flag !== '--quick')) {
  const what = [...unknown, ...flags].join(', ');
  console.error(`bench: unknown ${what}; rows are ${known.join(', ')}, flags --quick --json`);
  process.exit(2);
}

function number(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : 2);
}

function figure(summary: Summary): string {
  return `${number(summary.median)} ±${Math.round((summary.spread / 2) * 100)} %`;
}

function verdict(row: Row): string {
  if (row.target === undefined) return '';
  const value = (row.ratio ?? row.ours).median;
  const isMet = row.lessIsBetter === true ? value <= row.target : value >= row.target;
  return `${isMet ? 'meets' : 'SHORT OF'} ${number(row.target)}`;
}

function print(row: Row): void {
  const peer = row.peer === undefined ? '' : `  ${row.peer.name} ${figure(row.peer.figure)}`;
  const ratio = row.ratio === undefined ? '' : `  ratio ${figure(row.ratio)}`;
  console.log(
    `${row.name.padEnd(22)} ${figure(row.ours)} ${row.unit}${peer}${ratio}  ${verdict(row)}`,
  );
  const notes = Object.entries(row.notes ?? {}).map(([name, value]) => `${name}: ${value}`);
  if (notes.length > 0) console.log(`${' '.repeat(23)}${notes.join(', ')}`);
}

let failed = 0;
for (const name of known) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const run = spawnSync(process.execPath, [`${rowsFolder}${name}.ts`, ...flags], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for (const line of run.stdout.split('\n').filter((text) => text.startsWith('{'))) {
    if (isJson) console.log(line);
    else print(JSON.parse(line) as Row);
  }
  if (run.status !== 0) failed++;
}
if (!isJson) console.log('medians; ± is half of (max - min) / median over the rounds of a row');
process.exitCode = failed === 0 ? 0 : 1;
