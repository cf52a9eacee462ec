import { importsOf } from './imports.ts';
import type { SourceFile, Tree } from './tree.ts';
import { type Violation, violationsOf } from './violation.ts';

const RAW_MODULES = ['koffi', 'node:ffi'];

/** Raw memory and foreign functions stand only in files whose name says so. */
export function checkRawMemory(tree: Tree): Violation[] {
  return tree.typeScript.flatMap((file) => {
    const isShipped = file.path.startsWith('src/');
    if (!isShipped || /\.unsafe(?:\.(?:test|bench|fuzz))?\.ts$/.test(file.path)) return [];
    return [...rawImports(file), ...rawUses(file)];
  });
}

function rawImports(file: SourceFile): Violation[] {
  return importsOf(file).flatMap(({ specifier, line }) => {
    if (!RAW_MODULES.includes(specifier)) return [];
    const sentence = `imports ${specifier}, which belongs in a *.unsafe.ts file`;
    return [{ path: file.path, line, sentence }];
  });
}

function rawUses(file: SourceFile): Violation[] {
  const sentence = 'WebAssembly belongs in a *.unsafe.ts file';
  return violationsOf(file, file.bare, /\bWebAssembly\s*\./g, () => sentence);
}
