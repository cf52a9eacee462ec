import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { maskComments, maskStrings } from './mask.ts';

/** One text file of the repository. The masked forms keep every offset and line number. */
export class SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  #code: string | null = null;
  #bare: string | null = null;

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    this.lines = text.replace(/\n$/, '').split('\n');
  }

  get isTypeScript(): boolean {
    return this.path.endsWith('.ts');
  }

  /** Test, benchmark or fuzz file beside the code: not shipped. */
  get isBesideCode(): boolean {
    return /\.(test|bench|fuzz)\.ts$/.test(this.path);
  }

  /** `'bio'` for `src/bio/split.ts`; null for entry files and everything outside `src/`. */
  get layer(): string | null {
    return /^src\/([^/]+)\//.exec(this.path)?.[1] ?? null;
  }

  /** The text with comments blanked. */
  get code(): string {
    this.#code ??= maskComments(this.text);
    return this.#code;
  }

  /** The text with comments and the content of strings blanked. */
  get bare(): string {
    this.#bare ??= maskStrings(this.text);
    return this.#bare;
  }

  /** Line number, from 1, of an offset in the text. */
  lineAt(offset: number): number {
    let line = 1;
    for (
      let i = this.text.indexOf('\n');
      i >= 0 && i < offset;
      i = this.text.indexOf('\n', i + 1)
    ) {
      line++;
    }
    return line;
  }
}

/** The files that the checks see. Tests make one of a few strings. */
export class Tree {
  readonly files: readonly SourceFile[];
  readonly #byPath: ReadonlyMap<string, SourceFile>;
  readonly #folders = new Set<string>(['']);

  constructor(contents: Readonly<Record<string, string>>) {
    this.files = Object.entries(contents).map(([path, text]) => new SourceFile(path, text));
    this.#byPath = new Map(this.files.map((file) => [file.path, file]));
    for (const { path } of this.files) {
      for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
        this.#folders.add(path.slice(0, at));
      }
    }
  }

  get(path: string): SourceFile | undefined {
    return this.#byPath.get(path);
  }

  has(path: string): boolean {
    return this.#byPath.has(path) || this.#folders.has(path);
  }

  get typeScript(): SourceFile[] {
    return this.files.filter((file) => file.isTypeScript);
  }
}

/** Every file that git tracks or would track. A file with a NUL byte counts as empty text. */
export function readTree(root: string): Tree {
  // A checkout that another user owns is read all the same: CI runs as root.
  const args = ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others'];
  args.push('--exclude-standard', '--deduplicate');
  const listing = execFileSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  const contents: Record<string, string> = {};
  for (const path of listing.split('\0')) {
    if (path === '') continue;
    const bytes = readIfPresent(join(root, path));
    if (bytes !== null) contents[path] = bytes.includes(0) ? '' : bytes.toString('utf8');
  }
  return new Tree(contents);
}

/** A file that git still lists may be gone from the working tree; a folder is a submodule. */
function readIfPresent(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'EISDIR') return null;
    throw error;
  }
}
