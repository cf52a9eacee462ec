// Loaded with --import before a worker: plants the bug that BIOVEC_CANARY names, by replacing its
// text in its one source file. A text that is not there exactly once ends the process: a canary
// that no longer fits its source would be a test that cannot fail.

import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { canaryNamed } from './canaries.ts';

const ROOT = join(import.meta.dirname, '..', '..');

function plant(name: string): void {
  const canary = canaryNamed(name);
  const path = join(ROOT, 'src', canary.file);
  const url = pathToFileURL(path).href;
  const parts = readFileSync(path, 'utf8').split(canary.find);
  if (parts.length !== 2) {
    const times = parts.length - 1;
    process.stderr.write(`canary ${name}: its text stands ${times} times in src/${canary.file}\n`);
    process.exit(3);
  }
  const source = parts.join(canary.replace);
  registerHooks({
    load(asked, context, nextLoad) {
      if (asked !== url) return nextLoad(asked, context);
      return { format: 'module-typescript', source, shortCircuit: true };
    },
  });
}

const name = process.env['BIOVEC_CANARY'] ?? '';
if (name !== '') plant(name);
