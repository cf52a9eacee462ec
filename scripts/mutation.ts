// `npm run test:mutation -- [options] [FOLDER or FILE …]`: does a test fail for each small change?

import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { FolderScore } from './mutation/folder-score.ts';
import { type Fate, runMutants } from './mutation/run-mutants.ts';
import { type Mutant, Sandbox } from './mutation/sandbox.ts';

const USAGE = `Usage: npm run test:mutation -- [options] [FOLDER or FILE …]

Changes the code in one place at a time and runs the tests that reach it. Without a FOLDER:
src/memory, src/iter and src/map. Prints the share of changes that a test noticed, by folder, and
those that none noticed.

  --threshold N   least score in percent, for every folder; default 80
  --workers N     processes at once; default: one a core
  --every N       of all changes only each Nth: a quick look; default 1
  --offset N      with --every: which of them, 0 to N - 1; default 0
  --runs N        runs of each property; default 100
  --assertions    change conditions and texts of assertions, too
  --help          this text

Exit status: 0 every score reaches the threshold, 1 one does not, 2 wrong usage.
`;

const ROOT = join(import.meta.dirname, '..');
const FOLDERS = ['src/memory', 'src/iter', 'src/map'];
/** Tests elsewhere that were written for the behaviour of a folder. */
const FURTHER_TESTS: Readonly<Record<string, readonly string[]>> = {
  'src/map': [
    'src/device/block-device.test.ts',
    ...['faults', 'fault-wait', 'map-cases', 'memory-in-flight', 'refusals', 'tiny-pools'].map(
      (name) => `test/path/${name}.test.ts`,
    ),
    'test/path/random-path.test.ts',
    'test/path/user-memory.test.ts',
    'test/passthrough/*.test.ts',
  ],
};
/** Whole requests by the hundred: what nothing else notices would pay for them, at seconds each. */
const SLOW_TESTS = ['controller', 'oracle', 'properties'].map(
  (name) => `test/passthrough/${name}.test.ts`,
);
const PROGRESS_STEP = 100;
const NO_SOURCES = ['**/*.test.ts', '**/*.fuzz.ts', '**/*.bench.ts'];

interface Options {
  readonly paths: readonly string[];
  readonly threshold: number;
  readonly workers: number;
  readonly runs: number;
  readonly every: number;
  readonly offset: number;
  readonly assertions: boolean;
}

/** null = help was asked for. Throws TypeError for wrong usage. */
function readOptions(args: readonly string[]): Options | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      threshold: { type: 'string', default: '80' },
      workers: { type: 'string', default: String(availableParallelism()) },
      runs: { type: 'string', default: '100' },
      every: { type: 'string', default: '1' },
      offset: { type: 'string', default: '0' },
      assertions: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const paths = positionals.length > 0 ? positionals : FOLDERS;
  return {
    paths: paths.map((path) => relative(ROOT, join(process.cwd(), path))),
    threshold: numberOf('threshold', values.threshold, 0),
    workers: numberOf('workers', values.workers, 1),
    runs: numberOf('runs', values.runs, 1),
    every: numberOf('every', values.every, 1),
    offset: numberOf('offset', values.offset, 0),
    assertions: values.assertions,
  };
}

function numberOf(name: string, text: string, least: number): number {
  const number = Number(text);
  if (text !== '' && Number.isFinite(number) && number >= least) return number;
  throw new TypeError(`--${name} ${text} is no number from ${least} on`);
}

/** Files and folders of one run have one layer's tests: 'src/iter' for both of its kinds. */
function folderOf(path: string): string {
  const [top, layer] = path.split('/');
  if (top === 'src' && layer !== undefined) return `${top}/${layer}`;
  throw new TypeError(`${path} is not in a folder of src/`);
}

async function mutate(
  folder: string,
  paths: readonly string[],
  options: Options,
): Promise<FolderScore> {
  const { assertions, workers, runs, every, offset } = options;
  const patterns = paths.map((path) => (path.endsWith('.ts') ? path : `${path}/**/*.ts`));
  const files = globSync(patterns, { cwd: ROOT, exclude: NO_SOURCES }).sort();
  using sandbox = new Sandbox();
  await sandbox.fill({ root: ROOT, files, assertions });
  const mutants = sandbox.mutants.filter(({ id }) => id % every === offset % every);
  const tests = [`${folder}/**/*.test.ts`, ...(FURTHER_TESTS[folder] ?? [])];
  const testFiles = sandbox.find(tests).filter((file) => !SLOW_TESTS.includes(file));
  const fates = new Map<Mutant, Fate>();
  const onFate = (mutant: Mutant, fate: Fate): void => {
    fates.set(mutant, fate);
    if (fates.size % PROGRESS_STEP !== 0) return;
    const { detected } = new FolderScore(folder, fates);
    process.stderr.write(
      `${folder}: ${detected} of ${fates.size} noticed, ${mutants.length} in all\n`,
    );
  };
  await runMutants({ sandbox, mutants, sources: files, testFiles, workers, runs, onFate });
  return new FolderScore(folder, fates);
}

function report(result: FolderScore): string {
  const { folder, score, detected, timeouts, all, survivors } = result;
  const lines = survivors.map(({ mutant, fate }) => {
    const { path, line, column, mutator, replacement } = mutant;
    const source = readFileSync(join(ROOT, path), 'utf8').split('\n')[line - 1]?.trim() ?? '';
    const note = fate === 'not-reached' ? ', no test comes here' : '';
    const change = replacement.replaceAll(/\s+/g, ' ');
    return `  ${path}:${line}:${column} ${mutator}${note}\n    ${source}\n    → ${change}\n`;
  });
  const counts = `${detected} of ${all} changes noticed, ${timeouts} of them endless`;
  const head = `${folder}: ${score.toFixed(1)} %, ${counts}`;
  return `${head}\n${lines.join('')}`;
}

async function main(): Promise<number> {
  let options: Options | null;
  let groups: Map<string, string[]>;
  try {
    options = readOptions(process.argv.slice(2));
    if (options === null) {
      process.stdout.write(USAGE);
      return 0;
    }
    groups = Map.groupBy(options.paths, folderOf);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`mutation: ${error.message}\n${USAGE}`);
    return 2;
  }
  const scores: FolderScore[] = [];
  for (const [folder, paths] of groups) {
    const score = await mutate(folder, paths, options);
    scores.push(score);
    process.stdout.write(report(score));
  }
  for (const { folder, score, all } of scores) {
    process.stdout.write(`${folder.padEnd(16)}${score.toFixed(1).padStart(6)} % of ${all}\n`);
  }
  return scores.every(({ score }) => score >= options.threshold) ? 0 : 1;
}

process.exitCode = await main();
