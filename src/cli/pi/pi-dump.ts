import { hexTag } from '../../integrity/fault-text.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { appTagStart, isEscape, refTagStart } from '../../integrity/tuple.ts';
import { ExitCode } from '../exit-code.ts';
import { type PiFormatFlags, type PiOutput, profileOf } from './pi-format.ts';
import { makePiArena, openPi, readExactly, unitsOf } from './pi-image.ts';

export interface PiDumpFlags extends PiFormatFlags {
  /** First block. */
  readonly start: number;
  /** Blocks; undefined: all. */
  readonly count?: number;
  readonly json?: boolean;
}

/** A tuple for people and for JSON; tags in hexadecimal. */
export interface TupleText {
  readonly block: number;
  readonly guard: string;
  readonly app: string;
  readonly ref: string;
  /** Checking is switched off for this block. */
  readonly isEscape: boolean;
}

/** Units that are read at a time. */
const UNITS = 1024;

/** `biovec pi dump META`: a line for each tuple. */
export async function runPiDump(
  text: string,
  flags: PiDumpFlags,
  out: PiOutput = process.stdout,
): Promise<ExitCode> {
  const profile = profileOf(flags);
  const before = flags.interleaved === true ? intervalBytes(profile) : 0;
  const unit = before + profile.metadata_size;
  const arena = makePiArena();
  const disk = await openPi(text, arena);
  try {
    const blocks = unitsOf(disk, unit, 'the size of a record');
    const end = Math.min(blocks, flags.start + (flags.count ?? blocks));
    using buffer = arena.alloc(UNITS * unit, 'records');
    for (let first = flags.start; first < end; first += UNITS) {
      const count = Math.min(UNITS, end - first);
      await readExactly(disk, buffer.bytes, first * unit, count * unit);
      const lines = Array.from({ length: count }, (_, i) => {
        const tuple = readTuple(buffer.bytes, i * unit + before, first + i, profile);
        return flags.json === true ? JSON.stringify(tuple) : tupleLine(tuple);
      });
      out.write(`${lines.join('\n')}\n`);
    }
  } finally {
    await disk.close();
  }
  arena.assertNothingOutstanding();
  return ExitCode.OK;
}

function readTuple(
  bytes: Uint8Array,
  record: number,
  block: number,
  profile: IntegrityProfile,
): TupleText {
  const at = record + profile.pi_offset;
  const hex = (from: number, to: number): string =>
    Array.from(bytes.subarray(at + from, at + to), (byte) => hexTag(0, byte, 8)).join('');
  const app = appTagStart(profile.csum);
  const ref = refTagStart(profile.csum);
  return {
    block,
    guard: hex(0, app),
    app: hex(app, ref),
    ref: hex(ref, profile.tuple_size),
    isEscape: isEscape(bytes, at, profile),
  };
}

function tupleLine(tuple: TupleText): string {
  const { block, guard, app, ref } = tuple;
  const note = tuple.isEscape ? '  not checked' : '';
  return `${block}  guard ${guard}  app ${app}  ref ${ref}${note}`;
}
