import type { SeededRandom } from '../seeded-random.ts';
import type { SimEngine } from '../sim-engine.ts';
import type { SimRecords } from '../sim-records.ts';
import type { TupleModel } from './tuple-model.ts';

/** Where on the record a bit flips. */
const PARTS = ['data', 'data', 'guard', 'app', 'ref', 'prefix', 'rest', 'swap', 'escape'] as const;

/** Spoils an interval behind the path's back, and tells the model. */
export function damageInterval(
  engine: SimEngine,
  model: TupleModel,
  interval: number,
  random: SeededRandom,
): (typeof PARTS)[number] {
  const { format } = model;
  const part = random.pick(PARTS);
  const { medium } = engine.records as SimRecords;
  const recordAt = model.recordAt(interval);
  const record = medium.peek(recordAt, format.metadataBytes);
  const [from, bytes] = placeOf(part, model);
  if (part === 'data') flip(engine.medium, interval * format.intervalBytes, bytes, random);
  else if (part === 'swap') swap(engine, model, interval, random);
  else if (part === 'escape') {
    // Of type 3 half an escape is none.
    const isWhole = random.chance(0.5);
    const at = isWhole ? format.prefixBytes : format.appAt;
    record.fill(0xff, at, isWhole ? at + format.tupleBytes : Math.min(at + 2, record.length));
    medium.poke(recordAt, record);
  } else if (bytes > 0) flip(medium, recordAt + from, bytes, random);
  model.resync(interval * format.intervalBytes, (interval + 1) * format.intervalBytes);
  return part;
}

function placeOf(part: (typeof PARTS)[number], { format }: TupleModel): readonly [number, number] {
  const { prefixBytes, guardBytes, tupleBytes, metadataBytes, appAt, refAt, refBytes } = format;
  const behind = prefixBytes + tupleBytes;
  if (part === 'data') return [0, format.intervalBytes];
  if (part === 'prefix') return [0, prefixBytes];
  if (part === 'rest') return [behind, metadataBytes - behind];
  if (tupleBytes === 0) return [0, 0];
  if (part === 'guard') return [prefixBytes, guardBytes];
  return part === 'app' ? [appAt, 2] : [refAt, refBytes];
}

interface Bytes {
  peek(start: number, bytes: number): Uint8Array;
  poke(start: number, bytes: Uint8Array): void;
}

function flip(medium: Bytes, start: number, bytes: number, random: SeededRandom): void {
  const at = start + random.below(bytes);
  const [byte = 0] = medium.peek(at, 1);
  medium.poke(at, Uint8Array.of(byte ^ (1 << random.below(8))));
}

/** What another interval has, data and record: only the place is wrong. */
function swap(engine: SimEngine, model: TupleModel, to: number, random: SeededRandom): void {
  const { intervalBytes, metadataBytes } = model.format;
  const from = random.below(model.intervals);
  engine.medium.poke(to * intervalBytes, engine.medium.peek(from * intervalBytes, intervalBytes));
  const { medium } = engine.records as SimRecords;
  medium.poke(model.recordAt(to), medium.peek(model.recordAt(from), metadataBytes));
}
