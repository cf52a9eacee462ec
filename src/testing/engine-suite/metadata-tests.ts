import assert from 'node:assert/strict';
import { Errno } from '../../base/errno.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { IntegrityFlag, metadataBytesOf } from '../../integrity/integrity-profile.ts';
import { CheckFlag } from '../../integrity/verify.ts';
import type { DrivenMetadata, DrivenRecords } from '../driven-metadata.ts';
import type { DrivenResult } from '../engine-driver.ts';
import { assertSameBytes, type EngineBench } from './engine-bench.ts';

/** A place with room before and behind it. */
const START = 65536;
const BLANK = 0xff;
/** Bytes of segments of metadata that end inside records and tuples. */
const CUTS = [0, 5, 7, 64, 4095] as const;

/**
 * What an engine with a profile does with metadata. The tests of data run on it as well, with
 * tuples that are made for each write and checked after each read.
 */
export const METADATA_TESTS: Readonly<Record<string, (bench: EngineBench) => Promise<void>>> = {
  'records come back as they were written, wherever they are cut': keepsRecords,
  'each bio of a request has its own records': keepsRecordsOfBios,
  'where nothing was written there are escapes': escapesBlank,
  'a discarded block has an escape, or stays as it was': escapesDiscarded,
  'blocks of WRITE_ZEROES have tuples that are right': zeroesHaveTuples,
  'a device that checks fails a write before it stores anything': checksWrites,
  'a device that checks fails a read': checksReads,
};

interface Move {
  readonly start: number;
  /** Units of each bio. */
  readonly bios: readonly number[];
  readonly cut?: number;
  readonly check?: number;
}

/** Reads or writes whole units with records that the test sees: `fill` sets those of a write. */
async function move(
  bench: EngineBench,
  op: BioOp,
  { start, bios, cut = 0, check = 0 }: Move,
  fill: (records: DrivenRecords, index: number) => void = () => {},
): Promise<{ readonly result: DrivenResult; readonly records: Uint8Array }> {
  const { driver, memory, unitBytes } = bench;
  let at = 0;
  const lists = bios.map((units) => {
    const segment = { page: memory.page + at / 4096, offset: 0, len: units * unitBytes };
    at += segment.len;
    return [segment];
  });
  const tag = driver.build(op, start, lists, { metadataCut: cut });
  const all: DrivenRecords[] = [];
  for (let bio = driver.table.get(tag).bio; bio !== null; bio = bio.next) {
    const records = metadataOf(bench).recordsOf(bio);
    records.isAutomatic = false;
    records.check = check;
    fill(records, all.length);
    all.push(records);
  }
  const [result] = await driver.run([tag]);
  const bytes = Uint8Array.from(all.flatMap((records) => [...records.bytes]));
  driver.release(tag);
  return { result: result as DrivenResult, records: bytes };
}

function metadataOf(bench: EngineBench): DrivenMetadata {
  assert(bench.driver.metadata !== null, 'the engine has no profile: traits.hasMetadata is wrong');
  return bench.driver.metadata;
}

function recordBytes(bench: EngineBench, units: number): number {
  return metadataBytesOf(metadataOf(bench).profile, units * bench.unitBytes);
}

async function keepsRecords(bench: EngineBench): Promise<void> {
  for (const cut of CUTS) {
    const written = bench.randomBytes(recordBytes(bench, 4));
    const at = { start: START, bios: [4], cut };
    const write = await move(bench, BioOp.WRITE, at, ({ bytes }) => bytes.set(written));
    assert.equal(write.result.status, 0);
    assertSameBytes(write.records, written, 'records of a write');
    const read = await move(bench, BioOp.READ, { ...at, cut: 11 });
    assert.equal(read.result.status, 0);
    assertSameBytes(read.records, written, `records written in pieces of ${cut}`);
    const part = await move(bench, BioOp.READ, {
      start: START + 2 * bench.unitBytes,
      bios: [1],
    });
    const one = recordBytes(bench, 1);
    assertSameBytes(part.records, written.subarray(2 * one, 3 * one), 'records of the third unit');
  }
}

async function keepsRecordsOfBios(bench: EngineBench): Promise<void> {
  const one = recordBytes(bench, 1);
  const written = bench.randomBytes(6 * one);
  const starts = [0, one, 4 * one];
  const bios = [1, 3, 2];
  await move(bench, BioOp.WRITE, { start: START, bios }, ({ bytes }, index) => {
    bytes.set(written.subarray(starts[index] as number, (starts[index] as number) + bytes.length));
  });
  const read = await move(bench, BioOp.READ, { start: START, bios: [2, 2, 1, 1], cut: 9 });
  assertSameBytes(read.records, written, 'records of four bios');
}

async function escapesBlank(bench: EngineBench): Promise<void> {
  const { records } = await move(bench, BioOp.READ, { start: START, bios: [2] });
  assertSameBytes(records, new Uint8Array(records.length).fill(BLANK), 'records never written');
}

async function escapesDiscarded(bench: EngineBench): Promise<void> {
  const written = bench.randomBytes(recordBytes(bench, 3));
  const at = { start: START, bios: [3] };
  await move(bench, BioOp.WRITE, at, ({ bytes }) => bytes.set(written));
  const middle = START + bench.unitBytes;
  const { status } = await bench.command(BioOp.DISCARD, middle, bench.unitBytes);
  if (status !== 0) assert.equal(status, -Errno.EOPNOTSUPP);
  const { records } = await move(bench, BioOp.READ, at);
  const one = recordBytes(bench, 1);
  if (records[one] === BLANK) written.fill(BLANK, one, 2 * one);
  assertSameBytes(records, written, 'records around a discard');
}

async function zeroesHaveTuples(bench: EngineBench): Promise<void> {
  const written = bench.randomBytes(recordBytes(bench, 3));
  const at = { start: START, bios: [3] };
  await move(bench, BioOp.WRITE, at, ({ bytes }) => bytes.set(written));
  const middle = START + bench.unitBytes;
  const { status } = await bench.command(BioOp.WRITE_ZEROES, middle, bench.unitBytes);
  if (status !== 0) {
    assert.equal(status, -Errno.EOPNOTSUPP);
    return;
  }
  assertSameBytes(await bench.medium(middle, bench.unitBytes), new Uint8Array(bench.unitBytes), '');
  const { records } = await move(bench, BioOp.READ, at);
  const one = recordBytes(bench, 1);
  assertSameBytes(records.subarray(0, one), written.subarray(0, one), 'records before');
  assertSameBytes(records.subarray(2 * one), written.subarray(2 * one), 'records behind');
  const { tuple_size, pi_offset } = metadataOf(bench).profile;
  const tuple = records.subarray(one + pi_offset, one + pi_offset + tuple_size);
  assert(tuple_size === 0 || !tuple.every((byte) => byte === BLANK), 'an escape is no tuple');
}

function isCapable(bench: EngineBench): boolean {
  return (metadataOf(bench).profile.flags & IntegrityFlag.DEVICE_CAPABLE) !== 0;
}

async function checksWrites(bench: EngineBench): Promise<void> {
  const before = bench.randomBytes(bench.unitBytes);
  await bench.put(START, before);
  bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
  const check = CheckFlag.GUARD;
  // Zeros are the guard of no random bytes.
  const { result } = await move(bench, BioOp.WRITE, { start: START, bios: [1], check }, (own) => {
    own.bytes.fill(0);
  });
  assert.equal(result.status, isCapable(bench) ? -Errno.EILSEQ : 0);
  if (isCapable(bench)) await bench.assertMedium(START, before); // Its tuples are checked too.
}

async function checksReads(bench: EngineBench): Promise<void> {
  bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
  await move(bench, BioOp.WRITE, { start: START, bios: [1] }, ({ bytes }) => bytes.fill(0));
  const unchecked = await move(bench, BioOp.READ, { start: START, bios: [1] });
  assert.equal(unchecked.result.status, 0);
  const check = CheckFlag.GUARD;
  const { result } = await move(bench, BioOp.READ, { start: START, bios: [1], check });
  assert.equal(result.status, isCapable(bench) ? -Errno.EILSEQ : 0);
}
