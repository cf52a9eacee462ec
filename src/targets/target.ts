import { BlockError } from '../base/block-error.ts';
import { parseSize } from '../base/units.ts';
import { type MemoryOptions, parseMemoryOptions } from './memory-options.ts';
import { type ProtectWords, parseProtect } from './protect-options.ts';

/** A regular file or a block device: opening it tells. */
export interface FileTarget {
  readonly kind: 'file';
  readonly text: string;
  readonly path: string;
}

export interface RamTarget extends MemoryOptions {
  readonly kind: 'ram';
  readonly text: string;
  readonly sizeBytes: number;
}

/** Another target with tuples beside it. */
export interface ProtectTarget extends Omit<ProtectWords, 'data'> {
  readonly kind: 'protect';
  readonly text: string;
  readonly data: FileTarget | RamTarget;
}

/** What a user can name. `text` is the name as written. */
export type Target =
  | FileTarget
  | RamTarget
  | ProtectTarget
  | { readonly kind: 'null'; readonly text: string; readonly sizeBytes: number }
  /** Standard input or output: a stream, which only `copy` takes. */
  | { readonly kind: 'stdio'; readonly text: string }
  | { readonly kind: 'nbd'; readonly text: string; readonly uri: string };

const NBD_SCHEME = /^nbds?(\+unix|\+vsock)?:\/\//i;
/** A drive letter (`C:\disk.img`) is no scheme: schemes here have two letters or more. */
const SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i;
const MEMORY = /^(ram|null):(.*)$/i;
const PROTECT = /^protect:(.*)$/i;

/**
 * `disk.img`, `/dev/vdb`, `ram:1G`, `ram:1G,block=4096,pi=crc64`, `null:1T`, `-`,
 * `nbd://host/export`, `protect:disk.img`. A file with such a name is written with its folder:
 * `./ram:1G`, `./-`.
 * Throws BlockError EINVAL with a sentence.
 */
export function parseTarget(text: string): Target {
  if (text === '') throw new BlockError('EINVAL', { reason: 'the name of the target is empty' });
  if (text.includes('\0')) {
    throw new BlockError('EINVAL', { reason: 'the name of the target has a zero byte' });
  }
  if (text === '-') return { kind: 'stdio', text };
  if (NBD_SCHEME.test(text)) return { kind: 'nbd', text, uri: text };
  const protect = PROTECT.exec(text);
  if (protect !== null) return protectTarget(text, protect[1] as string);
  const memory = MEMORY.exec(text);
  if (memory !== null) {
    const [size = '', ...words] = memory[2].split(',');
    const sizeBytes = memorySize(text, size);
    if (memory[1].toLowerCase() === 'ram') {
      return { kind: 'ram', text, sizeBytes, ...parseMemoryOptions(words, text) };
    }
    if (words.length === 0) return { kind: 'null', text, sizeBytes };
    throw new BlockError('EINVAL', {
      reason: 'null: keeps nothing, so it has no options',
      device: text,
    });
  }
  const scheme = SCHEME.exec(text);
  if (scheme !== null) {
    const reason =
      `'${scheme[1]}' is no kind of target; there are files, block devices, ` +
      'ram:SIZE, null:SIZE, nbd:// and protect:TARGET';
    throw new BlockError('EINVAL', { reason, device: text });
  }
  return { kind: 'file', text, path: text };
}

function protectTarget(text: string, rest: string): ProtectTarget {
  const { data: name, ...words } = parseProtect(rest, text);
  const data = parseTarget(name);
  if (data.kind !== 'file' && data.kind !== 'ram') {
    const reason = `'${name}' cannot be protected; files, block devices and ram:SIZE can`;
    throw new BlockError('EINVAL', { reason, device: text });
  }
  if (data.kind === 'ram' && data.integrity !== null) {
    const reason = `'${name}' keeps tuples by itself`;
    throw new BlockError('EINVAL', { reason, device: text });
  }
  return { kind: 'protect', text, data, ...words };
}

/** A protected file or block device. */
export type ProtectedFile = ProtectTarget & { readonly data: FileTarget };

/**
 * `data` with its tuples in `store` (null: beside it). Throws BlockError EINVAL when `protect:`
 * could not name it later: `disk,ordered` is a file, but `protect:disk,ordered` is another one.
 */
export function protectedFile(data: FileTarget, store: string | null): ProtectedFile {
  const text = `protect:${data.path}${store === null ? '' : `,store=${store}`}`;
  const target = parseTarget(text);
  if (target.kind === 'protect' && target.data.kind === 'file' && target.store === store) {
    if (target.data.path === data.path) return { ...target, data: target.data };
  }
  const reason = `'${text}' would name another file; take a name without comma, or a link`;
  throw new BlockError('EINVAL', { reason, device: data.path });
}

function memorySize(text: string, size: string): number {
  let sizeBytes: number;
  try {
    sizeBytes = parseSize(size);
  } catch (cause) {
    const reason = cause instanceof BlockError ? cause.reason : String(cause);
    throw new BlockError('EINVAL', { reason, device: text, cause });
  }
  if (sizeBytes > 0) return sizeBytes;
  throw new BlockError('EINVAL', { reason: 'a target has at least one byte', device: text });
}
