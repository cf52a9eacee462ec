import { WORLD_KINDS, type WorldKind, type WorldSettings } from './world.ts';

/** A world and the steps that led to a failure, as kept in `test/seeds/`. */
export interface History {
  /** Sentences that say what it guards. */
  readonly notes: readonly string[];
  readonly kind: WorldKind;
  readonly seed: number;
  readonly settings: WorldSettings;
  readonly lines: readonly string[];
}

export function formatHistory(history: History): string {
  const settings = Object.entries(history.settings).map(([name, value]) => ` ${name}=${value}`);
  const head = `world ${history.kind} seed=${history.seed}${settings.join('')}`;
  return [...history.notes.map((note) => `# ${note}`), head, ...history.lines, ''].join('\n');
}

/** Throws an Error that says which line is wrong. */
export function parseHistory(text: string): History {
  const notes: string[] = [];
  const lines: string[] = [];
  let head = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) notes.push(line.slice(1).trim());
    else if (head === '') head = line.trim();
    else if (line.trim() !== '') lines.push(line.trim());
  }
  const match = /^world ([a-z]+) seed=(\d+)((?: [\w-]+=[\w.-]+)*)$/.exec(head);
  const kind = WORLD_KINDS.find((known) => known === match?.[1]);
  if (match === null || kind === undefined) {
    throw new Error(`a history starts with its world, not '${head}'`);
  }
  const [, , seed, rest = ''] = match;
  const pairs = rest.split(' ').filter((pair) => pair !== '');
  const settings = Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]));
  return { notes, kind, seed: Number(seed), settings, lines };
}
