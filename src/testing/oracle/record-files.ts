import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { BlockError } from '../../base/block-error.ts';
import { errnoNumber } from '../../base/errno.ts';
import { parseRecord, type RecordFile } from './schema.ts';

const RECORD_NAME = /\.json(?:\.(?:br|gz|zst))?$/;

/** The record files under `paths`: files as they are, folders with everything below, sorted. */
export function listRecords(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!orBlockError(path, () => statSync(path)).isDirectory()) return [path];
    const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
    const found = names.filter((name) => RECORD_NAME.test(name)).sort();
    return found.map((name) => join(path, name));
  });
}

/** Plain or compressed; throws BlockError for a file that cannot be read or is no record. */
export function readRecord(path: string): RecordFile {
  return orBlockError(path, () => parseRecord(decompress(path, readFileSync(path)), path));
}

function decompress(path: string, bytes: Uint8Array): string {
  if (path.endsWith('.br')) return brotliDecompressSync(bytes).toString('utf8');
  if (path.endsWith('.gz')) return gunzipSync(bytes).toString('utf8');
  if (path.endsWith('.zst')) return zstdDecompressSync(bytes).toString('utf8');
  return Buffer.from(bytes).toString('utf8');
}

function orBlockError<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof BlockError) throw cause;
    const { code = 'EINVAL', message } = cause as NodeJS.ErrnoException;
    throw BlockError.fromErrno(-errnoNumber(code), { reason: `${path}: ${message}`, cause });
  }
}
