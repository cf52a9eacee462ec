import type { SourceFile, Tree } from './tree.ts';
import type { Violation } from './violation.ts';

export const NAMES_PATH = 'docs/linux-names.txt';
export const MAP_PATH = 'docs/linux-map.md';
const ABSENT = 'absent because ';
/** `getUserSg`, `putUserSg` in `src/map/user-sg.ts` */
const SYMBOLS_IN_FILE = /((?:`[^`]+`\s*,?\s*)+)\s*in\s+`([^`]+)`/g;

interface Row {
  readonly line: number;
  readonly name: string;
  readonly symbol: string;
  readonly test: string;
}

/** Every Linux name of the subject has a row, and what the row names exists. */
export function checkLinuxMap(tree: Tree): Violation[] {
  const names = tree.get(NAMES_PATH);
  const map = tree.get(MAP_PATH);
  if (names === undefined) return [{ path: NAMES_PATH, line: 1, sentence: 'the file is missing' }];
  if (map === undefined) return [{ path: MAP_PATH, line: 1, sentence: 'the file is missing' }];
  const rows = rowsOf(map);
  return [
    ...missingRows(names, rows),
    ...strayRows(names, rows),
    ...rows.flatMap((row) =>
      rowFaults(tree, row).map((sentence) => ({ path: MAP_PATH, line: row.line, sentence })),
    ),
  ];
}

function namesOf(file: SourceFile): { name: string; line: number }[] {
  return file.lines
    .map((text, index) => ({ name: text.trim(), line: index + 1 }))
    .filter(({ name }) => name !== '' && !name.startsWith('#'));
}

function rowsOf(map: SourceFile): Row[] {
  const rows: Row[] = [];
  map.lines.forEach((text, index) => {
    if (!text.startsWith('|') || /^\|[\s:|-]+\|$/.test(text)) return;
    const [name = '', symbol = '', test = ''] = text
      .slice(1)
      .split('|')
      .map((cell) => cell.trim());
    if (name === 'Linux name') return;
    rows.push({ line: index + 1, name: name.replaceAll('`', ''), symbol, test });
  });
  return rows;
}

function missingRows(names: SourceFile, rows: readonly Row[]): Violation[] {
  const mapped = new Set(rows.map((row) => row.name));
  return namesOf(names)
    .filter(({ name }) => !mapped.has(name))
    .map(({ name, line }) => ({
      path: NAMES_PATH,
      line,
      sentence: `'${name}' has no row in ${MAP_PATH}`,
    }));
}

function strayRows(names: SourceFile, rows: readonly Row[]): Violation[] {
  const known = new Set(namesOf(names).map(({ name }) => name));
  return rows.flatMap(({ name, line }) => {
    // Deleted once seen, so that a second row of the same name is a stray too.
    if (known.delete(name)) return [];
    const sentence = `'${name}' stands twice or not at all in ${NAMES_PATH}`;
    return [{ path: MAP_PATH, line, sentence }];
  });
}

function rowFaults(tree: Tree, row: Row): string[] {
  if (row.symbol.startsWith(ABSENT)) {
    const hasReason = row.symbol.length > ABSENT.length + 3;
    return hasReason ? [] : [`'${row.name}' is absent without a reason`];
  }
  const places = [...row.symbol.matchAll(SYMBOLS_IN_FILE)];
  if (places.length === 0) {
    return [`'${row.name}' has neither \`symbol\` in \`file\` nor '${ABSENT}…'`];
  }
  const tests = [...row.test.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
  return [
    ...places.flatMap(([, symbols, path]) => placeFaults(tree, symbols, path)),
    ...(tests.length === 0 ? [`'${row.name}' names no test file`] : []),
    ...tests.filter((path) => !tree.has(path)).map((path) => `the test ${path} does not exist`),
  ];
}

function placeFaults(tree: Tree, symbols: string, path: string): string[] {
  const file = tree.get(path);
  if (file === undefined) return [`the file ${path} does not exist`];
  return [...symbols.matchAll(/`([^`]+)`/g)]
    .map((match) => match[1])
    .filter((symbol) => !hasExport(file, symbol))
    .map((symbol) => `${path} does not export ${symbol}`);
}

/** `Mapping.finish` asks for the export `Mapping` and for the word `finish` in the same file. */
function hasExport(file: SourceFile, symbol: string): boolean {
  const [owner, ...members] = symbol.replace(/\(\)$/, '').split('.');
  const kinds = 'abstract class|class|(?:async )?function|const|let|type|interface';
  const declared = new RegExp(`\\bexport (?:${kinds})\\*? ${RegExp.escape(owner)}(?![\\w$])`);
  const listed = new RegExp(`\\bexport (?:type )?\\{[^}]*\\b${RegExp.escape(owner)}\\b[^}]*\\}`);
  if (!declared.test(file.bare) && !listed.test(file.bare)) return false;
  return members.every((member) => new RegExp(`\\b${RegExp.escape(member)}\\b`).test(file.bare));
}
