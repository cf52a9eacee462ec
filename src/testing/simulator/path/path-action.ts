// A step of a path world as plain data: chosen at random, or read from a line of a history. Lines
// name everything they need, so that a history survives changes of how steps are chosen.

export const VERBS = [
  'tick',
  'spawn',
  'fork',
  'exit',
  'kill',
  'map',
  'map-file',
  'unmap',
  'protect',
  'move',
  'load',
  'store',
  'read',
  'write',
  'direct-read',
  'direct-write',
  'mixed-write',
  'pass-read',
  'pass-write',
  'fsync',
  'msync',
  'truncate',
  'punch',
  'allocate',
  'register',
  'unregister',
  'reclaim',
  'migrate',
  'hint',
  'cancel',
] as const;
export type Verb = (typeof VERBS)[number];

/** Bits of `flags`. */
export const ActionFlag = {
  READABLE: 1,
  WRITABLE: 2,
  SHARED: 4,
  /** Several ranges, one behind the other, instead of one. */
  VECTOR: 8,
  /** Folios of four pages where there are some. */
  LARGE: 32,
  /** The position of the open file instead of `at`. */
  SEQUENTIAL: 16,
} as const;

/** Unused fields are 0. One object for many steps: copy what you keep. */
export class PathAction {
  verb: Verb = 'tick';
  /** Slot of the process. */
  who = 0;
  addr = 0;
  bytes = 0;
  /** Number of the file: extent files first, then raw ranges. */
  file = 0;
  /** Byte of the file. */
  at = 0;
  flags = 0;
  /** Seed of everything that is chosen inside the step: data, fates of requests. */
  salt = 0;

  set(verb: Verb, who: number, salt: number): void {
    this.verb = verb;
    this.who = who;
    this.addr = 0;
    this.bytes = 0;
    this.file = 0;
    this.at = 0;
    this.flags = 0;
    this.salt = salt;
  }

  copy(): PathAction {
    const copy = new PathAction();
    copy.set(this.verb, this.who, this.salt);
    copy.addr = this.addr;
    copy.bytes = this.bytes;
    copy.file = this.file;
    copy.at = this.at;
    copy.flags = this.flags;
    return copy;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
}

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [ActionFlag.READABLE, 'r'],
  [ActionFlag.WRITABLE, 'w'],
  [ActionFlag.SHARED, 's'],
  [ActionFlag.VECTOR, 'v'],
  [ActionFlag.SEQUENTIAL, 'q'],
  [ActionFlag.LARGE, 'l'],
];

/** 'p2 direct-read addr=0x4000000 bytes=12288 file=0 at=8192 salt=77'. */
export function formatAction(action: PathAction): string {
  const parts = [`p${action.who}`, action.verb];
  if (action.addr !== 0) parts.push(`addr=0x${action.addr.toString(16)}`);
  for (const name of ['bytes', 'file', 'at'] as const) {
    if (action[name] !== 0) parts.push(`${name}=${action[name]}`);
  }
  const letters = FLAG_LETTERS.filter(([flag]) => action.has(flag)).map(([, letter]) => letter);
  if (letters.length > 0) parts.push(`flags=${letters.join('')}`);
  parts.push(`salt=${action.salt}`);
  return parts.join(' ');
}

/** Throws an Error for a line that `formatAction` cannot have written. */
export function parseAction(line: string, action: PathAction): void {
  const [who = '', name = '', ...pairs] = line.split(' ');
  const verb = VERBS.find((known) => known === name);
  if (!/^p\d+$/.test(who) || verb === undefined) throw new Error(`no step of a world: '${line}'`);
  action.set(verb, Number(who.slice(1)), 0);
  for (const pair of pairs) {
    const [key = '', value = ''] = pair.split('=');
    if (key === 'flags') action.flags = parseFlags(value, line);
    else if (
      key === 'addr' ||
      key === 'bytes' ||
      key === 'file' ||
      key === 'at' ||
      key === 'salt'
    ) {
      action[key] = Number(value);
      if (!Number.isSafeInteger(action[key])) throw new Error(`'${value}' is no number: '${line}'`);
    } else throw new Error(`'${key}' means nothing: '${line}'`);
  }
}

function parseFlags(letters: string, line: string): number {
  let flags = 0;
  for (const letter of letters) {
    const found = FLAG_LETTERS.find(([, known]) => known === letter);
    if (found === undefined) throw new Error(`'${letter}' is no flag: '${line}'`);
    flags |= found[0];
  }
  return flags;
}
