import {
  cpSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Instrumenter } from '@stryker-mutator/instrumenter';
import { shouldIgnore } from './ignore-assertions.ts';
import { SWITCH_HEADER } from './switch.ts';

/** One changed place of the source. */
export interface Mutant {
  readonly id: number;
  /** Relative to the root. */
  readonly path: string;
  /** From 1 on. */
  readonly line: number;
  readonly column: number;
  readonly mutator: string;
  readonly replacement: string;
}

export interface SandboxOptions {
  readonly root: string;
  /** Files to change, relative to the root. */
  readonly files: readonly string[];
  readonly assertions: boolean;
}

const COPIED = ['src', 'test', 'package.json', 'types'];
const QUIET = new Proxy({}, { get: () => () => false });

/**
 * A copy of sources and tests outside the tree, in which every change waits behind a switch: all
 * of them in one text, so that nothing is loaded again for the next.
 */
export class Sandbox {
  readonly folder = mkdtempSync(join(tmpdir(), 'biovec-mutation-'));
  mutants: readonly Mutant[] = [];

  async fill({ root, files, assertions }: SandboxOptions): Promise<void> {
    for (const name of COPIED.filter((candidate) => existsSync(join(root, candidate)))) {
      cpSync(join(root, name), join(this.folder, name), {
        recursive: true,
        filter: (path) => !path.endsWith('.json.br'),
      });
    }
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'));
    const instrumenter = new Instrumenter(QUIET as ConstructorParameters<typeof Instrumenter>[0]);
    const input = files.map((name) => ({
      name,
      content: readFileSync(join(this.folder, name), 'utf8'),
      mutate: true,
    }));
    const result = await instrumenter.instrument(input, {
      plugins: null,
      // Error texts are for people; tests ask for codes.
      excludedMutations: ['StringLiteral'],
      ignorers: assertions ? [] : [{ shouldIgnore }],
    } as Parameters<Instrumenter['instrument']>[1]);
    for (const { name, content } of result.files) {
      writeFileSync(join(this.folder, name), withOwnSwitch(content));
    }
    this.mutants = result.mutants
      .filter(({ status }) => status === undefined || status === 'Pending')
      .map(({ id, fileName, location, mutatorName, replacement }) => ({
        id: Number(id),
        path: fileName,
        line: location.start.line + 1,
        column: location.start.column + 1,
        mutator: mutatorName,
        replacement,
      }));
  }

  /** Files that match `patterns`, relative to the root. */
  find(patterns: readonly string[]): string[] {
    return globSync([...patterns], { cwd: this.folder }).sort();
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true });
  }
}

/** Stryker's switch compares texts; ours is a number, for code that runs in hot loops. */
function withOwnSwitch(content: string): string {
  const end = 'return isActive(id);\n}';
  const at = content.indexOf(end);
  const body = at < 0 ? content : content.slice(at + end.length);
  const switched = body
    .replaceAll(/stryMutAct_9fa48\("(\d+)"\)/g, 'mutant_.is($1)')
    .replaceAll(/stryCov_9fa48\((?:"\d+"(?:, )?)*\)/g, '0');
  return `// @ts-nocheck\n${SWITCH_HEADER}\n${switched}`;
}
