// `npm run oracle -- [options] [FILE…]`: recorded cases of Linux through the real layers.

import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockError } from '../src/base/block-error.ts';
import { type Profile, profileNamed } from '../src/limits/profile.ts';
import { judgeFile } from '../src/testing/oracle/judge.ts';
import type { Judged } from '../src/testing/oracle/judged.ts';
import { PassthroughTally } from '../src/testing/oracle/passthrough-tally.ts';
import { listRecords, readRecord } from '../src/testing/oracle/record-files.ts';
import { RULES } from '../src/testing/oracle/rules.ts';
import type { RecordFile } from '../src/testing/oracle/schema.ts';
import { StageTally } from '../src/testing/oracle/stage-tally.ts';
import { SubmitterTally } from '../src/testing/oracle/submitter-tally.ts';
import { Tally } from '../src/testing/oracle/tally.ts';

const USAGE = `Usage: npm run oracle -- [options] [FILE or FOLDER …]

Replays recorded block I/O of Linux through this library and compares. Recorded faults of user
memory also go through the library's own submitter, passthrough also with its fallback to copies.
Without a FILE: everything under test/oracle/.

  --profile NAME  biovec, linux-6.1 or linux-6.12; default: that of the file's kernel
  --case ID       show one case in full: the kernel's side and ours
  --emit          print our results as JSON lines in the schema of the record
  --json          print the counts as JSON
  --help          this text

Exit status: 0 no unexplained difference, 1 some, 2 wrong usage or an unreadable file.
`;

const ROOT = join(import.meta.dirname, '..');
/** Differences that the table names; --case shows the others. */
const SHOWN_MAX = 20;

interface Options {
  readonly files: readonly string[];
  readonly profile: Profile | null;
  readonly caseId: string | null;
  readonly emit: boolean;
  readonly json: boolean;
}

interface FileReport {
  readonly file: string;
  readonly profile: string;
  readonly tally: Tally;
  readonly different: readonly Judged[];
}

/** null = help was asked for. */
function readOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      profile: { type: 'string' },
      case: { type: 'string' },
      emit: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const files = listRecords(positionals.length > 0 ? positionals : [join(ROOT, 'test/oracle')]);
  if (files.length === 0) {
    throw new BlockError('ENOENT', { reason: `no *.json record under ${positionals.join(', ')}` });
  }
  return {
    files,
    profile: values.profile === undefined ? null : profileNamed(values.profile),
    caseId: values.case ?? null,
    emit: values.emit,
    json: values.json,
  };
}

function profileOf(record: RecordFile, options: Options): Profile {
  if (options.profile !== null) return options.profile;
  const [release = ''] = /^\d+\.\d+/.exec(record.kernel) ?? [];
  return profileNamed(`linux-${release}`);
}

function runFile(path: string, record: RecordFile, options: Options): FileReport {
  const profile = profileOf(record, options);
  const tally = new Tally();
  const different: Judged[] = [];
  const { caseId } = options;
  const isWanted = ({ id }: { readonly id: string }): boolean => caseId === null || id === caseId;
  // What a disk has stored is known from the cases before.
  const needsAll = record.cases.some(({ op }) => op === 'storedTuples');
  const cases = needsAll ? record.cases : record.cases.filter(isWanted);
  for (const judged of judgeFile({ ...record, cases }, profile)) {
    if (!isWanted(judged.one)) continue;
    tally.add(judged);
    if (judged.verdict.kind === 'differ') different.push(judged);
    if (options.emit) emit(judged);
    else if (caseId !== null) process.stdout.write(describe(path, profile, judged));
  }
  return { file: relative(process.cwd(), path), profile: profile.name, tally, different };
}

function emit({ one, ours, answer }: Judged): void {
  const { id, op, device } = one;
  if (answer !== null) process.stdout.write(`${JSON.stringify({ id, op, device, ...answer })}\n`);
  if (ours === null) return;
  const result = { ...ours.result, dataOk: null };
  const { bios, events, requests } = ours;
  const line = { id, op, device, result, bios, events, requests };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function describe(path: string, profile: Profile, judged: Judged): string {
  const { one, verdict, ours, answer } = judged;
  const head = `${one.id} of ${relative(process.cwd(), path)}, profile ${profile.name}`;
  const lines = [`${head}: ${verdictText(verdict)}`];
  if ('differences' in verdict) {
    for (const { field, expected, actual } of verdict.differences) {
      lines.push(`  ${field}`, `    expected ${expected}`, `    ours     ${actual}`);
    }
  }
  lines.push(`input    ${JSON.stringify(inputOf(one))}`);
  const { result, bios, events, requests } = one;
  lines.push(`expected ${JSON.stringify({ result, bios, events, requests }, null, 1)}`);
  const mine = ours ?? answer;
  if (mine !== null) lines.push(`ours     ${JSON.stringify(mine, null, 1)}`);
  return `${lines.join('\n')}\n`;
}

function inputOf(one: Judged['one']): object {
  const { result: _result, bios: _bios, events: _events, requests: _requests, ...input } = one;
  return input;
}

function verdictText(verdict: Judged['verdict']): string {
  switch (verdict.kind) {
    case 'agree': {
      const order = verdict.isOrderEqual ? 'same' : 'other';
      return `agree (${order} issue order, ${verdict.isSgEqual ? 'same' : 'other'} scatterlists)`;
    }
    case 'rule':
      return `differ by rule ${verdict.rule}`;
    case 'differ':
      return 'differ';
    case 'not-covered':
      return `not covered: ${verdict.why}`;
  }
}

function table(reports: readonly FileReport[], total: Tally): string {
  const width = Math.max(5, ...reports.map(({ file }) => file.length));
  const row = (name: string, cells: readonly (string | number)[]): string =>
    `${name.padEnd(width)}${cells.map((cell) => String(cell).padStart(12)).join('')}\n`;
  const cells = (tally: Tally): number[] => [
    tally.cases,
    tally.agree,
    tally.differ,
    tally.rule,
    tally.notCovered,
    tally.sameOrder,
    tally.sameSg,
  ];
  const names = ['cases', 'agree', 'differ', 'by rule', 'not covered', 'same order', 'same sg'];
  const head = row('', ['profile', ...names]);
  const rows = reports.map(({ file, profile, tally }) => row(file, [profile, ...cells(tally)]));
  return head + rows.join('') + row('total', ['', ...cells(total)]) + footnotes(reports, total);
}

function footnotes(reports: readonly FileReport[], total: Tally): string {
  const percent = ((100 * total.rule) / Math.max(total.compared, 1)).toFixed(2);
  const lines = [`by rule: ${total.rule} of ${total.compared} compared, ${percent} %`];
  for (const { name, reason } of RULES) {
    lines.push(`  ${name} ${total.byRule.get(name) ?? 0}: ${reason}`);
  }
  const whys = [...total.byWhy].map(([why, count]) => `${why} ${count}`);
  if (whys.length > 0) lines.push(`not covered: ${whys.join(', ')}`);
  const all = reports.flatMap(({ file, different }) => different.map((one) => ({ file, one })));
  for (const { file, one } of all.slice(0, SHOWN_MAX)) {
    if (one.verdict.kind !== 'differ') continue;
    const [{ field, expected, actual }] = one.verdict.differences;
    lines.push(`differ: ${file} ${one.one.id}, ${field}: expected ${expected}, ours ${actual}`);
  }
  if (all.length > SHOWN_MAX) lines.push(`… and ${all.length - SHOWN_MAX} more`);
  return `${lines.join('\n')}\n`;
}

async function main(): Promise<number> {
  let reports: FileReport[];
  const submitter = new SubmitterTally();
  const stage = new StageTally();
  const passthrough = new PassthroughTally();
  let options: Options | null;
  try {
    options = readOptions(process.argv.slice(2));
    if (options === null) {
      process.stdout.write(USAGE);
      return 0;
    }
    reports = [];
    for (const path of options.files) {
      const record = readRecord(path);
      if (passthrough.takes(record, options.caseId)) continue;
      reports.push(runFile(path, record, options));
      if (options.caseId !== null) continue;
      await submitter.addFile(record);
      stage.addFile(record);
    }
  } catch (error) {
    const isUsage = error instanceof TypeError && 'code' in error;
    if (!(error instanceof BlockError) && !isUsage) throw error;
    process.stderr.write(`oracle: ${error instanceof BlockError ? error.reason : error.message}\n`);
    if (isUsage) process.stderr.write(USAGE);
    return 2;
  }
  const total = new Tally();
  for (const { tally } of reports) total.join(tally);
  if (options.caseId !== null && total.cases + passthrough.cases === 0) {
    process.stderr.write(`oracle: no case ${options.caseId} in ${options.files.join(', ')}\n`);
    return 2;
  }
  const rest = submitter.text() + stage.text() + passthrough.text();
  if (options.json) {
    const files = reports.map(({ file, profile, tally }) => ({ file, profile, ...tally.toJSON() }));
    process.stdout.write(`${JSON.stringify({ files, total, submitter, stage, passthrough })}\n`);
  } else if (options.emit) {
    process.stderr.write(table(reports, total) + rest);
  } else if (options.caseId !== null) {
    process.stdout.write(passthrough.shown);
  } else {
    process.stdout.write(table(reports, total) + rest);
  }
  const others = [submitter, stage, passthrough].flatMap(({ differ }) => differ);
  return total.differ + others.length > 0 ? 1 : 0;
}

process.exitCode = await main();
