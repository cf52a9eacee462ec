import type { Tree } from './tree.ts';
import { type Violation, violationsOf } from './violation.ts';

const CALL = /\b(?:test|it|describe|suite|t|context)\.(only|skip|todo)\s*\(/g;
const OPTION = /\b(only|skip|todo):\s*(?:true\b|['"`])/g;

/** A test that does not run proves nothing. Peer checks (`*.peer.ts`) may lack their peer. */
export function checkSilencedTests(tree: Tree): Violation[] {
  return tree.typeScript.flatMap((file) => {
    if (!/\.(?:test|fuzz)\.ts$/.test(file.path)) return [];
    const sentence = (match: RegExpExecArray): string => `'${match[1]}' silences tests`;
    return [
      ...violationsOf(file, file.bare, CALL, sentence),
      ...violationsOf(file, file.bare, OPTION, sentence),
    ];
  });
}
