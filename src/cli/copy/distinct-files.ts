import { type BigIntStats, promises as fs, fstatSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { BlockError } from '../../base/block-error.ts';
import { storePath } from '../../targets/open-protected.ts';
import type { Target } from '../../targets/target.ts';

/** What a copy reads and what it writes. */
export interface CopyFiles {
  readonly source: Target;
  readonly destination: Target;
  /** Tuples are kept beside the destination. */
  readonly protect?: boolean | undefined;
  /** In which file; null: by the name of the destination. */
  readonly store?: string | null | undefined;
  readonly trace?: string | undefined;
}

interface Role {
  readonly role: string;
  /** As the user wrote it. */
  readonly name: string;
  /** A path, or the descriptor of a stream. */
  readonly file: string | number;
}

/**
 * Throws EINVAL when two of them are one file or block device, by whatever name: emptying the
 * destination would empty the source, and a trace would be written over either. Nothing is made or
 * changed; a file that is not there yet is known by its folder and name.
 */
export async function requireDistinct(files: CopyFiles): Promise<void> {
  const seen = new Map<string, Role>();
  for (const role of rolesOf(files)) {
    const identity = await identify(role.file);
    if (identity === null) continue;
    const other = seen.get(identity);
    if (other !== undefined) {
      const reason = `${other.role} and ${role.role} are the same file`;
      throw new BlockError('EINVAL', { reason, device: role.name });
    }
    seen.set(identity, role);
  }
}

function rolesOf({ source, destination, protect, store, trace }: CopyFiles): Role[] {
  const roles = [
    ...targetRoles(source, 'source', 0),
    ...targetRoles(destination, 'destination', 1),
  ];
  if (protect === true && destination.kind === 'file') {
    const file = store ?? `${destination.path}.pi`;
    roles.push({ role: 'the tuples of the destination', name: file, file });
  }
  if (trace !== undefined) roles.push({ role: 'the trace', name: trace, file: trace });
  return roles;
}

function targetRoles(target: Target, role: string, streamFd: number): Role[] {
  const name = target.text;
  if (target.kind === 'stdio') return [{ role, name, file: streamFd }];
  if (target.kind === 'file') return [{ role, name, file: target.path }];
  if (target.kind !== 'protect' || target.data.kind !== 'file') return [];
  const store = storePath({ ...target, data: target.data });
  return [
    { role, name, file: target.data.path },
    { role: `the tuples of the ${role}`, name: store, file: store },
  ];
}

/** null: a terminal, a pipe, a folder. Opening says what is wrong with it, if anything is. */
async function identify(file: string | number): Promise<string | null> {
  if (typeof file === 'number') return identityOf(fstatSync(file, { bigint: true }));
  try {
    return identityOf(await fs.stat(file, { bigint: true }));
  } catch {
    return await identityToBe(file);
  }
}

function identityOf(stat: BigIntStats): string | null {
  if (stat.isBlockDevice()) return `device ${stat.rdev}`;
  return stat.isFile() ? `file ${stat.dev}:${stat.ino}` : null;
}

/** Of a file that is not there yet. */
async function identityToBe(path: string): Promise<string | null> {
  try {
    return `name ${join(await fs.realpath(dirname(path)), basename(path))}`;
  } catch {
    return null;
  }
}
