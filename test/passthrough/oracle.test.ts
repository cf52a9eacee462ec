import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  judgePassthrough,
  type PassthroughVerdict,
} from '../../src/testing/oracle/judge-passthrough.ts';
import type { PassthroughCase } from '../../src/testing/oracle/passthrough-schema.ts';
import { PassthroughTally } from '../../src/testing/oracle/passthrough-tally.ts';
import { listRecords, readRecord } from '../../src/testing/oracle/record-files.ts';
import type { RecordFile } from '../../src/testing/oracle/schema.ts';

const tally = new PassthroughTally();
const records = listRecords([join(import.meta.dirname, '..', 'oracle')])
  .map((path) => readRecord(path))
  .filter(({ topic }) => topic === 'map');

test('every recorded request agrees; with the fallback, EINVAL ends where it must', () => {
  assert.equal(records.length, 2);
  for (const record of records) assert.ok(tally.takes(record));
  assert.deepEqual(tally.differ, []);
  assert.deepEqual(Object.fromEntries(tally.byOp), {
    map: { cases: 684, agree: 684, rule: 0 },
    'sgio block': { cases: 216, agree: 216, rule: 0 },
    'sgio sg': { cases: 136, agree: 130, rule: 6 },
    nvme: { cases: 98, agree: 98, rule: 0 },
  });
  const [old, recent] = [...tally.changes.values()].map((by) => Object.fromEntries(by));
  assert.equal(old?.['copied instead of EINVAL'], 25);
  assert.equal(recent?.['copied instead of EINVAL'], 26);
  for (const counts of [old, recent]) assert.equal(counts?.['unexplained'], undefined);
  assert.match(tally.text(), /25 {3}26 {2}copied instead of EINVAL/);
});

test('what stays EINVAL has no other way, by its numbers alone', () => {
  assert.equal(tally.fallback.length, 1134);
  for (const { one, change, file } of tally.fallback) {
    const { limits } = file.devices[one.device] as RecordFile['devices'][string];
    const at = (name: string): number => limits[name] as number;
    const total = totalOf(one);
    if (change === 'EINVAL kept, longer than max_hw_sectors') {
      assert.ok(total > at('maxHwSectors') * 512, one.id);
    } else if (change === 'EINVAL kept, too many vectors or no byte') {
      const count = one.op === 'map' ? one.niov : one.op === 'sgio' ? one.iovecCount : 0;
      assert.ok(count > 1024 || total === 0, one.id);
    } else if (change === 'EINVAL kept, no chunks satisfy the limits') {
      const segment = Math.min(at('maxSegmentSize'), at('segBoundaryMask') + 1);
      assert.ok(total > segment * at('maxSegments'), one.id);
    } else if (change === 'copied instead of EINVAL') {
      assert.ok(total <= at('maxHwSectors') * 512, one.id);
    }
  }
});

function totalOf(one: PassthroughCase): number {
  const listed = one.iov.reduce((sum, { length }) => sum + length, 0);
  if (one.op === 'map') return one.vec ? Math.min(listed, one.bufLen) : one.bufLen;
  if (one.op === 'nvme') return one.dataLen;
  return one.iovecCount > 0 ? Math.min(listed, one.dxferLen) : one.dxferLen;
}

type Mutable<T> = T extends object ? { -readonly [Name in keyof T]: Mutable<T[Name]> } : T;

/** The verdict on case `id` of 6.12 after `change`. */
function planted(id: string, change: (one: Mutable<PassthroughCase>) => void): PassthroughVerdict {
  const record = records.find(({ kernel }) => kernel.startsWith('6.12'));
  assert.ok(record !== undefined);
  const found = record.cases.find((one) => one.id === id);
  const one = structuredClone(found) as unknown as Mutable<PassthroughCase>;
  change(one);
  const file = { ...record, cases: [one as unknown as RecordFile['cases'][number]] };
  const [judged] = [...judgePassthrough(file)];
  assert.ok(judged !== undefined);
  return judged.verdict;
}

function fields(verdict: PassthroughVerdict): readonly string[] {
  return verdict.kind === 'differ' ? verdict.differences.map(({ field }) => field) : [verdict.kind];
}

test('another result, decision, row, count or list is found', () => {
  const mapped = 'map-u00-06';
  assert.deepEqual(fields(planted(mapped, () => {})), ['agree']);
  const expect = (field: string, change: Parameters<typeof planted>[1]): void => {
    assert.deepEqual(fields(planted(mapped, change)), [field]);
  };
  expect('decision', (one) => Object.assign(one, { decision: 'copy' }));
  expect('bios', (one) => one.request?.bios[0]?.vecs.pop());
  expect('bios', (one) => Object.assign(one.request?.bios[0] ?? {}, { bytes: 1 }));
  expect('segments', (one) => Object.assign(one.request ?? {}, { nrPhysSegments: 10 }));
  expect('sg', (one) => one.request?.sg.pop());
  expect('unmap', (one) => Object.assign(one.result, { unmapRet: -14 }));
  const error = planted(mapped, (one) => {
    Object.assign(one, { decision: 'error' });
    Object.assign(one.result, { ret: -22 });
  });
  assert.ok(fields(error).includes('result'));
  const hole = planted(mapped, (one) => Object.assign(one.iov[0] ?? {}, { holePage: 1 }));
  assert.ok(fields(hole).includes('result'));
  // A refusal that the limits do not explain.
  const refused = planted('map-u00-12', (one) => Object.assign(one.result, { ret: -14 }));
  assert.deepEqual(fields(refused), ['result']);
});

test('a rule excuses its own inputs only', () => {
  assert.deepEqual(fields(planted('sgio-sgb-82', () => {})), ['rule']);
  const other = planted('sgio-sgb-82', (one) => Object.assign(one.result, { errno: 22 }));
  assert.ok(fields(other).includes('result'));
});
