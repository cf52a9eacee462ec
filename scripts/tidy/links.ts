import { posix } from 'node:path';
import type { SourceFile, Tree } from './tree.ts';
import { type Violation, violationsOf } from './violation.ts';

const LINK = /\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g;
const OUTSIDE = /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i;

/** Relative links of the documents lead to files, and their anchors to headings. */
export function checkLinks(tree: Tree): Violation[] {
  return tree.files.flatMap((file) => {
    if (!file.path.endsWith('.md')) return [];
    const text = withoutCode(file.text);
    return violationsOf(file, text, LINK, ([, link]) => linkFault(tree, file, link) ?? '').filter(
      ({ sentence }) => sentence !== '',
    );
  });
}

function linkFault(tree: Tree, file: SourceFile, link: string): string | null {
  if (OUTSIDE.test(link)) return null;
  const [path, anchor] = link.split('#');
  const folder = posix.dirname(file.path);
  const target = path === '' ? file.path : posix.join(folder, decodeURIComponent(path));
  const found = target.replace(/\/$/, '').replace(/^\.$/, '');
  if (!tree.has(found)) return `the link '${link}' leads nowhere`;
  if (anchor === undefined || !found.endsWith('.md')) return null;
  const headings = headingsOf(tree.get(found) as SourceFile);
  return headings.includes(anchor) ? null : `the link '${link}' names no heading`;
}

/** As on the usual forges: lower case, punctuation gone, spaces turned into hyphens. */
function headingsOf(file: SourceFile): string[] {
  return [...withoutFences(file.text).matchAll(/^#{1,6}\s+(.+)$/gm)].map((match) =>
    match[1]
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
}

function withoutFences(text: string): string {
  return text.replace(/^(```|~~~)[\s\S]*?^\1/gm, blank);
}

function withoutCode(text: string): string {
  return withoutFences(text).replace(/`[^`\n]*`/g, blank);
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, ' ');
}
