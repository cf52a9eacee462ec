import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { profileNamed } from '../../src/limits/profile.ts';
import type { CrcCase, StoredTuplesCase } from '../../src/testing/oracle/integrity-schema.ts';
import { judgeFile } from '../../src/testing/oracle/judge.ts';
import type { Judged } from '../../src/testing/oracle/judged.ts';
import type { NvmeCase } from '../../src/testing/oracle/passthrough-schema.ts';
import { listRecords, readRecord } from '../../src/testing/oracle/record-files.ts';
import { recordedIntegrity } from '../../src/testing/oracle/recorded-integrity.ts';
import type { PiRecord, RecordFile, TransferCase } from '../../src/testing/oracle/schema.ts';
import { StageTally } from '../../src/testing/oracle/stage-tally.ts';
import { straddles, wrongGuards } from '../../src/testing/oracle/straddle.ts';
import { Tally } from '../../src/testing/oracle/tally.ts';

type Mutable<T> = T extends object ? { -readonly [Name in keyof T]: Mutable<T[Name]> } : T;

const records = listRecords([import.meta.dirname]).map((path) => readRecord(path));
const integrity = records.filter(({ topic }) => topic === 'integrity');
const straddle = records.filter(({ topic }) => topic === 'straddle');

function judge(file: RecordFile): Judged[] {
  const [release = ''] = /^\d+\.\d+/.exec(file.kernel) ?? [];
  return [...judgeFile(file, profileNamed(`linux-${release}`))];
}

test('every recorded case with metadata agrees, as far as its file determines it', () => {
  const total = new Tally();
  const byOp = new Map<string, number>();
  for (const file of integrity) {
    for (const judged of judge(file)) {
      total.add(judged);
      assert.notEqual(judged.verdict.kind, 'differ', `${file.kernel} ${judged.one.id}`);
      assert.notEqual(judged.verdict.kind, 'rule', `${file.kernel} ${judged.one.id}`);
      if (judged.verdict.kind !== 'agree') continue;
      byOp.set(judged.one.op, (byOp.get(judged.one.op) ?? 0) + 1);
    }
  }
  // Both kernels have the same cases.
  assert.deepEqual(Object.fromEntries(byOp), {
    crc: 58,
    write: 408,
    storedTuples: 92,
    read: 498,
    sgio: 74,
    nvme: 340,
  });
  const why = 'tuples that no case of the file determines';
  assert.deepEqual(Object.fromEntries(total.byWhy), { [why]: 38 });
  assert.equal(total.sameSg, total.agree);
});

test('what the replay compares is not nothing', () => {
  const counts = { tuples: 0, driver: 0, answers: 0, mismatches: 0, mapped: 0, copied: 0 };
  for (const { one, ours } of integrity.flatMap(judge)) {
    if (one.op === 'nvme') {
      const { metaDecision } = one as unknown as NvmeCase;
      if (metaDecision === 'map') counts.mapped++;
      if (metaDecision === 'copy') counts.copied++;
    }
    if (ours === null) continue;
    assert.equal(ours.isPartial && ours.result.errno === 0 && one.result.errno === 84, false);
    if (ours.result.errno === 84) counts.mismatches++;
    for (const { pi, driverPi, deviceTuples } of ours.requests) {
      if (pi?.some(({ tuples }) => tuples !== undefined)) counts.tuples++;
      if (driverPi !== undefined) counts.driver++;
      if (deviceTuples !== undefined) counts.answers++;
    }
  }
  // 56 reads end with EILSEQ on 6.1 and 58 on 6.12, nine and eleven of them by the controller.
  assert.deepEqual(counts, {
    tuples: 414,
    driver: 414,
    answers: 350,
    mismatches: 114,
    mapped: 111,
    copied: 181,
  });
});

test('intervals in several pages have the guards of their data', () => {
  const rules: string[] = [];
  let writes = 0;
  for (const file of straddle) {
    for (const { one, verdict, ours } of judge(file)) {
      assert.notEqual(verdict.kind, 'differ', one.id);
      if (verdict.kind === 'rule') rules.push(`${verdict.rule} ${one.id}`);
      if (one.op !== 'write' || ours === null) continue;
      const { profile } = recordedIntegrity(file.devices[one.device], file.kernel);
      assert.equal(straddles(one, profile), true);
      assert.deepEqual(wrongGuards(one as TransferCase, profile, ours), []);
      // The second guard of the kernel's is of other memory.
      const kernel = wrongGuards(one as TransferCase, profile, one);
      assert.equal(kernel.length, one.id === 'straddle-st3-w' ? 1 : 0);
      writes++;
    }
  }
  assert.equal(writes, 4);
  const rule = 'straddled-interval straddle-st3-w';
  assert.deepEqual(rules, [rule, rule]);
});

/** The case `id` of 6.12 after `change`, and what is then found. */
function planted<T>(
  id: string,
  change: (one: Mutable<T>) => void,
  before: readonly string[] = [],
  after: readonly string[] = [],
): string[] {
  const file = integrity.find(({ kernel }) => kernel.startsWith('6.12'));
  assert(file !== undefined);
  const wanted = [...before, id, ...after];
  const cases = file.cases.filter((one) => wanted.includes(one.id));
  const copies = structuredClone(cases);
  const changed = copies.find((one) => one.id === id);
  assert.equal(changed?.id, id);
  change(changed as unknown as Mutable<T>);
  const judged = judge({ ...file, cases: copies }).find(({ one }) => one.id === id);
  assert(judged !== undefined);
  const { verdict } = judged;
  if (verdict.kind === 'not-covered') return [verdict.why];
  return 'differences' in verdict ? verdict.differences.map(({ field }) => field) : [verdict.kind];
}

/** One digit of tuples is another one. */
function turn(records: readonly Mutable<PiRecord>[] | undefined, at: number): void {
  const [record] = records ?? [];
  assert(record?.tuples !== undefined);
  const digit = (Number.parseInt(record.tuples[at] ?? '', 16) ^ 1).toString(16);
  record.tuples = record.tuples.slice(0, at) + digit + record.tuples.slice(at + 1);
}

test('a planted difference of a write is found in its field', () => {
  const write = (change: (request: Mutable<TransferCase>['requests'][number]) => void): string[] =>
    planted<TransferCase>('int-pi06-00', (one) => change(one.requests[0]));
  assert.deepEqual(write(() => {}), ['agree']);
  for (const at of [0, 5, 9, 15]) {
    assert.deepEqual(write(({ pi }) => turn(pi as [], at)), ['tuples']);
  }
  assert.deepEqual(
    write(({ driverPi }) => turn(driverPi as [], 15)),
    ['driver tuples'],
  );
  const flags = (list: readonly Mutable<PiRecord>[] | undefined): void => {
    for (const one of list ?? []) one.flags ^= 2;
  };
  assert.deepEqual(write(({ pi }) => flags(pi)), ['tuples']);
  assert.deepEqual(write(({ driverPi }) => flags(driverPi)), ['driver tuples']);
  assert.deepEqual(write((request) => Object.assign(request, { nrIntegritySegments: 2 })), [
    'integrity segments',
  ]);
  assert.deepEqual(write((request) => Object.assign(request, { integritySg: [[4096, 8]] })), [
    'integrity segments',
  ]);
  const data = planted<TransferCase>('int-pi06-00', (one) => {
    Object.assign(one.data ?? {}, { fill: 2 });
  });
  assert.deepEqual(data, ['tuples', 'driver tuples']);
});

test('a planted answer of the device is verified', () => {
  const read = (change: (one: Mutable<TransferCase>) => void): string[] =>
    planted<TransferCase>('int-pi00-02', change);
  const answer = (at: number) => (one: Mutable<TransferCase>) => {
    turn(one.requests[0]?.deviceTuples as Mutable<PiRecord>[], at);
  };
  assert.deepEqual(read(() => {}), ['agree']);
  assert.deepEqual(read(answer(0)), ['result'], 'guard');
  assert.deepEqual(read(answer(15)), ['result'], 'ref tag');
  assert.deepEqual(read(answer(5)), ['agree'], 'the app tag is nobody’s');
  assert.deepEqual(read((one) => Object.assign(one.result, { ret: -1, errno: 84 })), ['result']);
  assert.deepEqual(
    read((one) => Object.assign(one.data ?? {}, { flips: [[100, 4]] })),
    ['result'],
    'data',
  );
  const bad = planted<TransferCase>('int-pi00-ref', (one) => {
    for (const record of one.requests[0]?.deviceTuples ?? []) {
      (record as Mutable<PiRecord>).tuples = 'f'.repeat(record.bytes * 2);
    }
  });
  assert.deepEqual(bad, ['result'], 'escapes are not checked');
  const unknown = planted<TransferCase>('int-pi00-guardlo', (one) => delete one.data);
  assert.deepEqual(unknown, ['a mismatch in unknown data']);
});

test('planted checksums, stored tuples and metadata of commands are found', () => {
  for (const name of ['crcT10Dif', 'crc64Rocksoft', 'ipChecksumLittleEndian'] as const) {
    const found = planted<CrcCase>('crc-h3', (one) => Object.assign(one, { [name]: 1 }));
    assert.deepEqual(found, ['answer'], name);
  }
  const stored = (change: (one: Mutable<StoredTuplesCase>) => void): string[] =>
    planted<StoredTuplesCase>('int-pi00-04', change, ['int-pi00-03']);
  assert.deepEqual(stored(() => {}), ['agree']);
  const other = stored((one) => Object.assign(one, { tuples: one.tuples.replace('e6a1', 'e6a2') }));
  assert.deepEqual(other, ['answer']);
  const elsewhere = stored((one) => Object.assign(one, { lba: 5000 }));
  assert.deepEqual(elsewhere, ['tuples that no case of the file determines']);
  // Nothing wrote these; the read that comes next says what the data was.
  const read = (change: (one: Mutable<StoredTuplesCase>) => void, then = 'int-pi01-08'): string[] =>
    planted<StoredTuplesCase>('int-pi01-07', change, [], [then]);
  assert.deepEqual(read(() => {}), ['agree']);
  const wrong = read((one) => Object.assign(one, { tuples: one.tuples.replace('4f10', '4f11') }));
  assert.deepEqual(wrong, ['answer']);
  const unread = read(() => {}, 'int-pi01-07');
  assert.deepEqual(unread, ['tuples that no case of the file determines']);
  const command = (change: (one: Mutable<NvmeCase>) => void): string[] =>
    planted<NvmeCase>('int-nvm1-12', change);
  assert.deepEqual(command(() => {}), ['agree']);
  assert.deepEqual(command((one) => Object.assign(one, { metaDecision: 'copy' })), ['metadata']);
  const moved = command((one) => {
    Object.assign(one.request?.pi?.[0] ?? {}, { vecs: [[1, 0, 8]] });
  });
  assert.deepEqual(moved, ['metadata']);
  const shifted = command((one) => {
    const [, meta] = one.iov;
    Object.assign(meta ?? {}, { offset: (meta?.offset ?? 0) + 1 });
  });
  assert.deepEqual(shifted, ['metadata'], 'misaligned metadata is copied');
});

test('the stage of the queue sends and verifies what the kernel does', () => {
  const tally = new StageTally();
  for (const file of records) if (file.topic !== 'map') tally.addFile(file);
  assert.deepEqual(tally.differ, []);
  // 453 transfers and 5 merges of each kernel, but for 9 on devices whose kernel knows of none.
  assert.equal(tally.cases, 898);
});

test('a stage that sends other tuples, or verifies otherwise, is found', () => {
  const file = integrity[0] as RecordFile;
  const differences = (id: string, change: (one: Mutable<TransferCase>) => void): number => {
    const cases = structuredClone(file.cases.filter((one) => one.id === id));
    change(cases[0] as unknown as Mutable<TransferCase>);
    const tally = new StageTally();
    tally.addFile({ ...file, cases });
    assert.equal(tally.cases, 1);
    return tally.differ.length;
  };
  assert.equal(differences('int-pi06-00', () => {}), 0);
  const sent = (one: Mutable<TransferCase>): void => turn(one.requests[0]?.driverPi as [], 15);
  assert.equal(differences('int-pi06-00', sent), 1);
  const answered = (one: Mutable<TransferCase>): void =>
    turn(one.requests[0]?.deviceTuples as [], 15);
  assert.equal(differences('int-pi00-02', answered), 1);
  assert.equal(differences('int-pi00-ref', (one) => Object.assign(one.result, { errno: 5 })), 1);
});

test('a wrong guard is excused only where an interval is cut', () => {
  const [file] = straddle;
  assert(file !== undefined);
  const cases = structuredClone(file.cases.filter(({ id }) => id === 'straddle-st3-w'));
  const [one] = cases as unknown as [Mutable<TransferCase>];
  assert.equal(judge({ ...file, cases })[0]?.verdict.kind, 'rule');
  Object.assign(one.iov[0] ?? {}, { offset: 0 });
  assert.equal(judge({ ...file, cases })[0]?.verdict.kind, 'differ');
});

test('linux-6.1 fills a request with attempts, the library with segments', () => {
  const file = records.find(({ topic, kernel }) => topic === 'merge' && kernel.startsWith('6.1.'));
  assert(file !== undefined);
  const cases = file.cases.filter(({ id }) => id === 'merge-m14-09');
  const merges = (name: string): number[] => {
    const [{ ours }] = [...judgeFile({ ...file, cases }, profileNamed(name))] as [Judged];
    return (ours?.requests ?? []).map(({ bios }) => bios.length).sort();
  };
  assert.deepEqual(merges('linux-6.1'), [1, 3]);
  assert.deepEqual(merges('biovec'), [4]);
});

test('the command shows and prints what is no transfer', () => {
  const script = join(import.meta.dirname, '../../scripts/oracle.ts');
  const record = join(import.meta.dirname, 'linux-6.12/integrity.json.br');
  const run = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args, record], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    assert.equal(status, 0, stderr);
    return stdout;
  };
  assert.match(run('--case', 'int-pi00-04'), /: agree.*e6a1000000000008/s);
  const lines = run('--emit').trimEnd().split('\n');
  const emitted = new Map(lines.map((line) => [JSON.parse(line).id as string, JSON.parse(line)]));
  assert.equal(emitted.get('crc-f1-512')?.crc64Rocksoft, '0x1de60e2868a782e9');
  assert.equal(emitted.get('int-pi00-04')?.tuples, 'e6a1000000000008e6a1000000000009');
  assert.equal(emitted.get('int-pi06-00')?.requests[0].driverPi[0].tuples, '0000000000000000');
  assert.equal(emitted.get('int-nvm1-12')?.metadata.decision, 'map');
});
