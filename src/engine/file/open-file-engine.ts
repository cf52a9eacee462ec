import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../abi/linux-fs.ts';
import { BlockError } from '../../base/block-error.ts';
import type { FileStat, FsError, FsResult, HostEnv } from '../../base/env.ts';
import { TAG_SLOTS_MAX } from '../../base/slots.ts';
import { FileEngine } from './file-engine.ts';
import {
  noDirect,
  type Probed,
  type ProbeSubject,
  probeBlock,
  probeRegular,
} from './file-limits.ts';
import { OpenFile, statusOf } from './open-file.ts';

export interface FileEngineOptions {
  readonly env: HostEnv;
  /** O_DIRECT: past the page cache, whole blocks. Default false. */
  readonly direct?: boolean | undefined;
  /** Opened for reading; writes fail with EROFS. Never a silent fallback. Default false. */
  readonly readOnly?: boolean | undefined;
  /** Makes a regular file that is not there. Default false. */
  readonly create?: boolean | undefined;
  /** Bytes: the size that a regular file gets; a block device must have as much. */
  readonly truncateTo?: number | undefined;
  /** Requests at once. Default 64. */
  readonly depth?: number | undefined;
}

const FILE_DEPTH_DEFAULT = 64;
const CREATE_MODE = 0o666;

/** Opens a regular file or a block device. Throws BlockError; a failure leaves no trace. */
export async function openFileEngine(
  path: string,
  options: FileEngineOptions,
): Promise<FileEngine> {
  checkOptions(path, options);
  const { env } = options;
  let existing = await statOrNull(path, env);
  let isCreated = false;
  let fd = -1;
  try {
    if (existing === null && options.create === true) {
      isCreated = await createFile(path, env);
      existing = await statOrNull(path, env);
    }
    if (existing === null) {
      throw new BlockError('ENOENT', { reason: 'there is no such file', device: path });
    }
    checkKind(path, existing);
    fd = await openPath(path, kindOf(existing) === S_IFBLK, options);
    return await engineOn(fd, path, options);
  } catch (error) {
    if (fd >= 0) await ignoreErrors((done) => env.fs.close(fd, done));
    if (isCreated) await ignoreErrors((done) => env.fs.unlink(path, done));
    throw error;
  }
}

/**
 * Makes an empty file and says whether it was us who made it: one that O_CREAT leaves behind when
 * O_DIRECT is refused could be anybody's.
 */
async function createFile(path: string, env: HostEnv): Promise<boolean> {
  const { O_RDWR, O_CREAT, O_EXCL } = env.fs.flags;
  const flags = O_RDWR + O_CREAT + O_EXCL;
  try {
    const fd = await ask<number>(
      (done) => env.fs.open(path, flags, CREATE_MODE, done),
      path,
      'open',
    );
    await ignoreErrors((done) => env.fs.close(fd, done));
    return true;
  } catch (error) {
    if (error instanceof BlockError && error.code === 'EEXIST') return false;
    throw error;
  }
}

function checkOptions(path: string, options: FileEngineOptions): void {
  const device = path;
  const { depth = FILE_DEPTH_DEFAULT, truncateTo = 0, readOnly = false } = options;
  if (path === '' || path.includes('\0')) {
    throw new BlockError('EINVAL', { reason: 'the path is empty or has a zero byte', device });
  }
  if (!Number.isInteger(depth) || depth < 1 || depth >= TAG_SLOTS_MAX) {
    const reason = `depth is ${depth}; it may be 1 to ${TAG_SLOTS_MAX - 1} requests`;
    throw new BlockError('EINVAL', { reason, device });
  }
  if (!Number.isSafeInteger(truncateTo) || truncateTo < 0) {
    const reason = `truncateTo is ${truncateTo}; it must be a whole number of bytes`;
    throw new BlockError('EINVAL', { reason, device });
  }
  if (readOnly && (options.create === true || options.truncateTo !== undefined)) {
    const reason = 'readOnly excludes create and truncateTo';
    throw new BlockError('EINVAL', { reason, device });
  }
  if (options.direct === true && options.env.fs.flags.O_DIRECT === 0) throw noDirect(path);
}

async function engineOn(fd: number, path: string, options: FileEngineOptions): Promise<FileEngine> {
  const { env, direct = false, readOnly = false, truncateTo } = options;
  let stat = await ask<FileStat>((done) => env.fs.fstat(fd, done), path, 'fstat');
  checkKind(path, stat);
  const isBlock = kindOf(stat) === S_IFBLK;
  if (!isBlock && truncateTo !== undefined) {
    await ask<null>(
      (done) => env.fs.ftruncate(fd, truncateTo, (error) => done(error, null)),
      path,
      'ftruncate',
    );
    stat = await ask<FileStat>((done) => env.fs.fstat(fd, done), path, 'fstat');
  }
  const subject: ProbeSubject = {
    env,
    fd,
    stat,
    isDirect: direct,
    isReadOnly: readOnly,
    target: path,
  };
  const probed = await (isBlock ? probeBlock(subject) : probeRegular(subject));
  if (isBlock && truncateTo !== undefined && truncateTo > probed.sizeBytes) {
    const reason = `the device has ${probed.sizeBytes} bytes, ${truncateTo} are needed`;
    throw new BlockError('ENOSPC', { reason, device: path });
  }
  const file = new OpenFile({
    env,
    fd,
    isBlock,
    isDirect: direct,
    isReadOnly: readOnly || probed.limits.read_only,
    blockBytes: probed.limits.logical_block_size,
    sizeBytes: probed.sizeBytes,
  });
  return new FileEngine(file, {
    kind: 'file',
    target: path,
    depth: options.depth ?? FILE_DEPTH_DEFAULT,
    limits: probed.limits,
    byteGranular: !isBlock && !direct,
    integrity: null,
    fixedSize: isBlock,
    facts: factsOf(file, probed),
  });
}

function factsOf(file: OpenFile, probed: Probed): Record<string, string | number | boolean> {
  return {
    type: file.isBlock ? 'block device' : 'regular file',
    direct: file.isDirect,
    readOnly: file.isReadOnly,
    ...probed.facts,
    ffi: file.env.native === null ? `none: ${file.env.nativeReason}` : file.env.native.kind,
    ioThreads: file.env.ioThreads,
  };
}

async function openPath(
  path: string,
  isBlock: boolean,
  options: FileEngineOptions,
): Promise<number> {
  const { env, direct = false, readOnly = false } = options;
  const { flags } = env.fs;
  let wanted = readOnly ? flags.O_RDONLY : flags.O_RDWR;
  if (direct) wanted += flags.O_DIRECT;
  // On a block device: fails with EBUSY while a file system is mounted from it.
  if (isBlock && !readOnly) wanted += flags.O_EXCL;
  try {
    return await ask<number>((done) => env.fs.open(path, wanted, 0, done), path, 'open');
  } catch (error) {
    const isRefused = error instanceof BlockError && error.code === 'EINVAL' && direct;
    throw isRefused ? noDirect(path, error.cause) : error;
  }
}

function kindOf(stat: FileStat): number {
  return stat.mode & S_IFMT;
}

const KIND_REASONS: ReadonlyMap<number, string> = new Map([
  [S_IFCHR, 'it is a character device; a target is a regular file or a block device'],
  [S_IFIFO, 'it is a pipe; a target is a regular file or a block device'],
  [S_IFSOCK, 'it is a socket; a target is a regular file or a block device'],
]);

function checkKind(path: string, stat: FileStat): void {
  const kind = kindOf(stat);
  if (kind === S_IFREG || kind === S_IFBLK) return;
  if (kind === S_IFDIR) {
    const reason = 'it is a directory; a target is a regular file or a block device';
    throw new BlockError('EISDIR', { reason, device: path });
  }
  const reason = KIND_REASONS.get(kind) ?? 'it is neither a regular file nor a block device';
  throw new BlockError('EINVAL', { reason, device: path });
}

/** null: there is nothing at `path`. */
async function statOrNull(path: string, env: HostEnv): Promise<FileStat | null> {
  try {
    return await ask<FileStat>((done) => env.fs.stat(path, done), path, 'stat');
  } catch (error) {
    if (error instanceof BlockError && error.code === 'ENOENT') return null;
    throw error;
  }
}

/** For people; what is missing here gets the system's own words. */
const OPEN_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'permission denied; readOnly asks for less',
  EPERM: 'not permitted; readOnly asks for less',
  EROFS: 'its file system is read-only; open it with readOnly',
  EBUSY: 'it is in use, as a mounted file system or by another program',
  ENOSPC: 'no space left',
  EFBIG: 'the file system takes no file that long',
  ENOTDIR: 'a part of the path is no folder',
  EMFILE: 'the process has as many open files as ulimit -n allows',
  ENFILE: 'the system has as many open files as fs.file-max allows',
  EDQUOT: 'the disk quota is used up',
  ETXTBSY: 'it is a program that runs; readOnly asks for less',
  ENAMETOOLONG: 'the name, or a part of it, is longer than the file system takes',
  ELOOP: 'too many symbolic links, or a circle of them',
};

/** A callback of node:fs as a promise, its error as a BlockError. Control plane only. */
function ask<T>(call: (done: FsResult<T>) => void, path: string, syscall: string): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error: FsError | null, result: T) => {
      if (!error) return resolve(result);
      const status = statusOf(error);
      const reason = OPEN_REASONS[error.code ?? ''] ?? error.message;
      return reject(BlockError.fromErrno(status, { reason, device: path, syscall, cause: error }));
    });
  });
}

function ignoreErrors(call: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => call(() => resolve()));
}
