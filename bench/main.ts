// `npm run bench`: every figure beside its target and, where it has one, beside its peer. One
// process per file of rows, so that no row trains the compiler for another. Nothing here fails a
// build: a bench is a bench.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseBenchArguments, USAGE } from './arguments.ts';
import { ratioChart } from './chart.ts';
import { intoMarks, markdownTables, noiseText, rowText } from './figures.ts';
import { plotSvg } from './plot.ts';
import { clearProgress } from './progress.ts';
import { factsText, lastRun, type RunFacts, recordRow, runFacts } from './record.ts';
import type { Row } from './row.ts';

const rowsFolder = fileURLToPath(new URL('./rows/', import.meta.url));
const known = readdirSync(rowsFolder)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.slice(0, -'.ts'.length));
const parsed = parseBenchArguments(process.argv.slice(2), known);
if (typeof parsed === 'string') {
  process.stderr.write(`bench: ${parsed}\n${USAGE}\n`);
  process.exit(2);
}
const args = parsed;
// Whoever reads has seen enough, as `| head` has.
process.stdout.on('error', () => process.exit());

/** Runs one file of rows and gives each as it comes. False: it failed. */
async function runFile(name: string, take: (row: Row) => void): Promise<boolean> {
  const flags = args.quick ? ['--quick'] : [];
  const child = spawn(process.execPath, [`${rowsFolder}${name}.ts`, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    clearProgress();
    if (line.startsWith('{')) take(JSON.parse(line) as Row);
  }
  return (await ended) === 0;
}

function minutes(): string {
  return `${(performance.now() / 60_000).toFixed(1)} min`;
}

async function runAll(facts: RunFacts): Promise<Row[]> {
  const names = known.filter((name) => args.wanted.length === 0 || args.wanted.includes(name));
  const rows: Row[] = [];
  for (const [i, name] of names.entries()) {
    // Standard output is for the figures alone.
    process.stderr.write(`-- ${name}, ${i + 1} of ${names.length}, after ${minutes()}\n`);
    const isWell = await runFile(name, (row) => {
      rows.push(row);
      const { plot: _plot, ...kept } = row; // Its points are the figures of the notes again.
      if (args.record) recordRow(facts, kept);
      if (args.json) process.stdout.write(`${JSON.stringify({ ...facts, row })}\n`);
      // A table comes at the end; whoever waits for it sees what there is on standard error.
      else (args.markdown ? process.stderr : process.stdout).write(`${rowText(row)}\n`);
    });
    if (!isWell) process.exitCode = 1;
  }
  return rows;
}

function finish(facts: RunFacts, rows: readonly Row[]): void {
  if (args.plot !== null) {
    const title = `biovec beside its peers, ${facts.commit}, ${facts.run.slice(0, 10)}`;
    const own = rows.some(({ ratio }) => ratio !== undefined)
      ? undefined
      : rows.find(({ plot }) => plot !== undefined)?.plot;
    writeFileSync(args.plot, own === undefined ? ratioChart(rows, title) : plotSvg(own));
  }
  const about = `${factsText(facts)}; ${noiseText(rows)}`;
  const tables = `${markdownTables(rows)}\n\n${about}.\n`;
  if (args.into !== null) {
    writeFileSync(args.into, intoMarks(readFileSync(args.into, 'utf8'), tables));
  }
  if (args.markdown) process.stdout.write(tables);
  else if (!args.json) {
    const rule =
      'medians; ± is half of (max - min) / median over the rounds; pairs are ours : peer';
    process.stdout.write(`${rule}\n${about}\n`);
  }
}

if (args.last) {
  const lines = lastRun();
  const [first] = lines;
  if (first === undefined) {
    process.stderr.write('bench: nothing is recorded yet; `npm run bench -- --record` does it\n');
    process.exit(1);
  }
  if (args.json) for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
  else if (!args.markdown) for (const { row } of lines) process.stdout.write(`${rowText(row)}\n`);
  finish(
    first,
    lines.map(({ row }) => row),
  );
} else {
  const facts = runFacts(args.quick);
  finish(facts, await runAll(facts));
}
