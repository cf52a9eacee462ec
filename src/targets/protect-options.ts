import { BlockError } from '../base/block-error.ts';
import { parseSize } from '../base/units.ts';
import type { ProtectGuard } from '../protect/open-store.ts';

/** What may stand behind the target of `protect:`. */
export interface ProtectWords {
  /** The name of what is protected. */
  readonly data: string;
  /** The file with the tuples; null: the name of the data and `.pi`. */
  readonly store: string | null;
  /** Each write waits until its record is on the medium. */
  readonly ordered: boolean;
  /** For RAM disks, which are protected anew each time; an image has its own. */
  readonly guard: ProtectGuard | null;
  readonly intervalBytes: number | null;
}

const PROTECT_GUARDS: readonly ProtectGuard[] = ['crc64', 'crc16'];

/** The last word behind a comma, as long as it is one of ours: a name may have commas too. */
const WORD = /^(.*),(?:(store|guard|interval)=([^,]*)|(ordered))$/i;

/**
 * `disk.img`, `disk.img,store=/var/lib/disk.pi`, `/dev/vdb,store=vdb.pi,ordered`,
 * `ram:1G,guard=crc16,interval=512`. Throws BlockError EINVAL with a sentence.
 */
export function parseProtect(text: string, device: string): ProtectWords {
  let data = text;
  const words = new Map<string, string>();
  for (let found = WORD.exec(data); found !== null; found = WORD.exec(data)) {
    const name = (found[2] ?? found[4] ?? '').toLowerCase();
    if (words.has(name)) throw bad(`${name} is given twice`, device);
    words.set(name, found[3] ?? '');
    data = found[1] ?? '';
  }
  if (data === '') throw bad('protect: needs the name of an image: protect:disk.img', device);
  const store = words.get('store') ?? null;
  if (store === '') throw bad('store has no value: store=FILE', device);
  const wish = words.get('guard') ?? null;
  const guard = PROTECT_GUARDS.find((known) => known === wish) ?? null;
  if (wish !== null && guard === null) {
    throw bad(`guard is '${wish}'; it may be ${PROTECT_GUARDS.join(', ')}`, device);
  }
  const interval = words.get('interval');
  const intervalBytes = interval === undefined ? null : sizeOf(interval, device);
  return { data, store, ordered: words.has('ordered'), guard, intervalBytes };
}

function sizeOf(text: string, device: string): number {
  try {
    return parseSize(text);
  } catch (cause) {
    throw bad(cause instanceof BlockError ? cause.reason : String(cause), device);
  }
}

function bad(reason: string, device: string): BlockError {
  return new BlockError('EINVAL', { reason, device });
}
