// `npm run build`: what the package ships, in a clean `dist/`.

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

// A file that no longer has a source must not be shipped.
rmSync(join(root, 'dist'), { recursive: true, force: true });
const args = [tsc, '-p', join(root, 'tsconfig.build.json')];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;
