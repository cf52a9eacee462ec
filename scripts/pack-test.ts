// `npm run test:pack [-- 22.18 24 26]`: the packed package, as a user of each Node meets it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const NODES_DEFAULT = ['22.18', '24', '26'];

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

const READ = `
  const disk = await open('ram:1M');
  const bytes = new Uint8Array(4096).fill(1);
  const { bytesRead } = await disk.read(bytes, { position: 0 });
  await disk.close();
  if (bytesRead !== 4096 || bytes.some((byte) => byte !== 0)) throw new Error('a bad first read');
`;

const ESM = `
import { open } from 'biovec';
${READ}
`;

const CJS = `
const { open } = require('biovec');
async function main() {${READ}}
main();
`;

const TYPES = `
import { open } from 'biovec';
export async function firstRead(): Promise<number> {
  await using disk = await open('ram:1M');
  const block: number = disk.limits.logical_block_size;
  const { bytesRead } = await disk.read(new Uint8Array(block), { position: 0 });
  return bytesRead;
}
`;

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    target: 'es2022',
    lib: ['es2023'],
    types: ['node'],
    module: 'nodenext',
    moduleResolution: 'nodenext',
    // The declarations that we ship are part of the check.
    skipLibCheck: false,
    noEmit: true,
  },
  files: ['types.ts'],
};

function run(cwd: string, file: string, ...args: string[]): string {
  return execFileSync(file, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

/** A new project, with leave for `node` to fetch its binary. */
function makeProject(path: string): string {
  mkdirSync(path);
  const manifest = { private: true, type: 'module', allowScripts: { node: true, koffi: true } };
  writeFileSync(join(path, 'package.json'), JSON.stringify(manifest));
  return path;
}

function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Manifest;
}

function pack(folder: string): string {
  const [{ filename }] = JSON.parse(
    run(
      root,
      'npm',
      'pack',
      '--silent',
      '--json',
      '--ignore-scripts',
      '--pack-destination',
      folder,
    ),
  ) as [{ filename: string }];
  return join(folder, filename);
}

function makeConsumer(path: string, tarball: string): string {
  makeProject(path);
  const { devDependencies } = readManifest(root);
  const tools = ['typescript', '@types/node'].map((name) => `${name}@${devDependencies[name]}`);
  run(path, 'npm', 'install', '--silent', '--no-save', tarball, ...tools);
  const { exports } = readManifest(join(path, 'node_modules', 'biovec'));
  const entries = Object.keys(exports)
    .filter((entry) => !entry.endsWith('.json'))
    .map((entry) => JSON.stringify(entry.replace(/^\./, 'biovec')));
  const imports = entries.map((entry, i) => `export * as entry${i} from ${entry};\n`).join('');
  const requires = entries.map((entry) => `require(${entry});\n`).join('');
  writeFileSync(join(path, 'esm.mjs'), imports + ESM);
  writeFileSync(join(path, 'cjs.cjs'), requires + CJS);
  writeFileSync(join(path, 'types.ts'), imports + TYPES);
  writeFileSync(join(path, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  return path;
}

function checkNoInstallScripts(consumer: string): void {
  const { scripts = {} } = readManifest(join(consumer, 'node_modules', 'biovec'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) {
    assert.ok(!(name in scripts), `pack: the package runs ${name} on the user's machine`);
  }
}

function checkNode(version: string, folder: string, consumer: string): void {
  const project = makeProject(join(folder, `node-${version}`));
  run(project, 'npm', 'install', '--silent', '--no-save', `node@${version}`);
  const node = join(project, 'node_modules', 'node', 'bin', 'node');
  const name = run(project, node, '--version').trim();
  const say = (what: string): boolean => process.stdout.write(`pack: ${name}: ${what}\n`);
  run(consumer, node, 'esm.mjs');
  say('import and first read');
  run(consumer, node, 'cjs.cjs');
  say('require and first read');
  run(consumer, node, join('node_modules', 'typescript', 'bin', 'tsc'));
  say('strict types');
  run(consumer, node, join('node_modules', 'biovec', 'bin', 'biovec.cjs'), '--help');
  say('command line');
}

function main(versions: readonly string[]): void {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-pack-'));
  try {
    run(root, process.execPath, join('scripts', 'build.ts'));
    const consumer = makeConsumer(join(folder, 'consumer'), pack(folder));
    checkNoInstallScripts(consumer);
    for (const version of versions) checkNode(version, folder, consumer);
  } finally {
    // The launcher prefers `dist/`: a stale one would hide the sources of this checkout.
    rmSync(join(root, 'dist'), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
}

const versions = process.argv.slice(2);
main(versions.length > 0 ? versions : NODES_DEFAULT);
