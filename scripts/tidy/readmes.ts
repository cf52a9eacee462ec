import type { Tree } from './tree.ts';
import type { Violation } from './violation.ts';

export const README_LINES_MAX = 60;

/** Each layer says what enters, what leaves and who owns it, on one screen. */
export function checkReadmes(tree: Tree): Violation[] {
  const layers = new Set(tree.files.map((file) => file.layer).filter((layer) => layer !== null));
  return [...layers].sort().flatMap((layer) => {
    const path = `src/${layer}/README.md`;
    const readme = tree.get(path);
    if (readme === undefined) {
      return [{ path, line: 1, sentence: `the layer ${layer}/ has no README.md` }];
    }
    const { length } = readme.lines;
    if (length <= README_LINES_MAX) return [];
    const sentence = `the README has ${length} lines; at most ${README_LINES_MAX}`;
    return [{ path, line: README_LINES_MAX + 1, sentence }];
  });
}
