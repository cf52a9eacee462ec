// `node scripts/oracle-import.ts FOLDER`: takes recorded cases into the repository. FOLDER holds
// linux-<version>/<topic>.json; the topics that a replay covers go to test/oracle/, compressed,
// and are read back: the same bytes come out again.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { parseRecord } from '../src/testing/oracle/schema.ts';

const TOPICS = ['split', 'merge', 'fixed', 'align', 'map', 'integrity', 'straddle'];
const TARGET = join(import.meta.dirname, '../test/oracle');

/** The sources repeat themselves over megabytes: the largest window pays. */
function compress(bytes: Uint8Array): Uint8Array {
  return brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });
}

function importFile(source: string, target: string): string {
  const bytes = readFileSync(source);
  const { cases } = parseRecord(bytes.toString('utf8'), source);
  writeFileSync(target, compress(bytes));
  const back = brotliDecompressSync(readFileSync(target));
  if (Buffer.compare(back, bytes) !== 0) throw new Error(`${target} differs from ${source}`);
  const packed = readFileSync(target).length;
  return `${target}: ${cases.length} cases, ${bytes.length} -> ${packed} bytes\n`;
}

function main(folder: string | undefined): number {
  if (folder === undefined || !existsSync(folder)) {
    process.stderr.write('Usage: node scripts/oracle-import.ts FOLDER\n');
    return 2;
  }
  for (const kernel of readdirSync(folder).filter((name) => name.startsWith('linux-'))) {
    mkdirSync(join(TARGET, kernel), { recursive: true });
    for (const topic of TOPICS) {
      const source = join(folder, kernel, `${topic}.json`);
      if (!existsSync(source)) continue;
      process.stdout.write(importFile(source, join(TARGET, kernel, `${topic}.json.br`)));
    }
  }
  return 0;
}

process.exitCode = main(process.argv[2]);
