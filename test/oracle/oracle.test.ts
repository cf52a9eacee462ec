import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { profileNamed } from '../../src/limits/profile.ts';
import { judgeFile } from '../../src/testing/oracle/judge.ts';
import type { Judged, Verdict } from '../../src/testing/oracle/judged.ts';
import { listRecords, readRecord } from '../../src/testing/oracle/record-files.ts';
import type { Replayed } from '../../src/testing/oracle/replay.ts';
import { RULES } from '../../src/testing/oracle/rules.ts';
import type {
  AioCase,
  DeviceRecord,
  RecordFile,
  ReplayableCase,
  TransferCase,
} from '../../src/testing/oracle/schema.ts';
import { SubmitterTally } from '../../src/testing/oracle/submitter-tally.ts';
import { Tally } from '../../src/testing/oracle/tally.ts';

const RULES_MAX = 6;
/** Of the compared cases. */
const RULE_SHARE_MAX = 0.01;

/** `integrity.test.ts` has those of devices with metadata alone, test/passthrough/ topic `map`. */
const ELSEWHERE = ['map', 'integrity', 'straddle'];
const records = listRecords([import.meta.dirname])
  .map((path) => ({ path, file: readRecord(path) }))
  .filter(({ file }) => !ELSEWHERE.includes(file.topic));

function profileFor(file: RecordFile): ReturnType<typeof profileNamed> {
  return profileNamed(file.kernel.startsWith('6.12') ? 'linux-6.12' : 'linux-6.1');
}

test('every recorded case agrees with the kernel, or differs by a rule', () => {
  const total = new Tally();
  const differ: string[] = [];
  for (const { path, file } of records) {
    for (const judged of judgeFile(file, profileFor(file))) {
      total.add(judged);
      if (judged.verdict.kind === 'differ') differ.push(`${path} ${judged.one.id}`);
    }
  }
  assert.deepEqual(differ, []);
  assert.equal(total.cases, 2441);
  assert.equal(total.compared, 2441);
  assert(RULES.length <= RULES_MAX);
  assert(total.rule <= RULE_SHARE_MAX * total.compared, `${total.rule} cases differ by rule`);
  // Issue order and scatterlists are no condition, but they are the kernel's throughout.
  assert.equal(total.sameOrder, total.agree);
  assert.equal(total.sameSg, total.agree);
});

test('every recorded fault of user memory ends as on the kernel, with no rule', () => {
  const kinds = new Map<string, number>();
  let cases = 0;
  for (const { path, file } of records) {
    if (file.topic !== 'align') continue;
    for (const { one, verdict, ours } of judgeFile(file, profileFor(file))) {
      if (!one.id.startsWith('fault-')) continue;
      cases++;
      assert.equal(verdict.kind, 'agree', `${path} ${one.id}`);
      const isShort = ours !== null && (ours.result.ret ?? 0) > 0;
      const kind = isShort ? 'bytes' : ours?.bios.length === 0 ? 'nothing sent' : 'sent, error';
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  }
  assert.equal(cases, 382);
  // 33 times a kernel has sent whole bios when a later one faults, 3 times its disk fails.
  assert.deepEqual(Object.fromEntries(kinds), {
    bytes: 204,
    'nothing sent': 106,
    'sent, error': 72,
  });
});

test('the submitter sends what the kernel sends, and tells the count first', async () => {
  const tally = new SubmitterTally();
  for (const { file } of records) await tally.addFile(file);
  assert.deepEqual(tally.differ, []);
  assert.equal(tally.cases, 382);
  // The kernels answer EFAULT to 66 transfers that they have sent in part; 18 on failing disks.
  assert.deepEqual(Object.fromEntries(tally.byRule), {
    'device-error-kept': 18,
    'count-before-fault': 48,
    'whole-blocks': 2,
  });
  assert.equal(tally.agree, 382 - 68);
});

test('a submitter that sends other bytes, or answers otherwise, is found', async () => {
  const fault = lone('align', (one) => one.id === 'fault-pf00-06' && one.op === 'read');
  const differences = async (change: (one: Mutable<TransferCase>) => void): Promise<number> => {
    const one = structuredClone(fault.cases[0]) as Mutable<TransferCase>;
    change(one);
    const tally = new SubmitterTally();
    await tally.addFile({ ...fault, cases: [one] });
    return tally.differ.length;
  };
  assert.equal(await differences(() => {}), 0);
  assert.equal(await differences((one) => Object.assign(one.result, { ret: 512 })), 1);
  assert.equal(await differences((one) => Object.assign(one.bios[0] ?? {}, { bytes: 4096 })), 1);
  assert.equal(await differences((one) => Object.assign(one.bios[0] ?? {}, { sector: 9 })), 1);
  assert.equal(await differences((one) => Object.assign(one.iov[0] ?? {}, { holePage: 2 })), 1);
});

test('with its own profile the library keeps the limits where the kernels did not', () => {
  let cuts = 0;
  for (const { path, file } of records) {
    if (file.topic !== 'split') continue;
    for (const { one, verdict, ours } of judgeFile(file, profileNamed('biovec'))) {
      if (ours?.cutsBelowBlock !== true) continue;
      cuts++;
      assert.equal(verdict.kind === 'rule' && verdict.rule, 'sub-block-cut', `${path} ${one.id}`);
      assert.deepEqual(ours.faults, [], one.id);
    }
  }
  assert.equal(cuts, 14); // Seven of each kernel.
});

/** The first case of `topic` on 6.12 for which `wanted` holds, alone in its file. */
function lone(topic: string, wanted: (one: ReplayableCase) => boolean): RecordFile {
  const found = records.find(({ file, path }) => file.topic === topic && path.includes('6.12'));
  assert(found !== undefined);
  const { file } = found;
  const one = (file.cases as readonly ReplayableCase[]).find(wanted);
  assert(one !== undefined);
  return { ...file, cases: [one] };
}

function verdictOf(file: RecordFile): Verdict {
  const [judged] = [...judgeFile(file, profileFor(file))] as [Judged];
  return judged.verdict;
}

/** The verdict on the case of `file` after `change`. */
function planted(file: RecordFile, change: (one: Mutable<ReplayableCase>) => void): Verdict {
  const copy = structuredClone(file.cases[0]) as Mutable<ReplayableCase>;
  change(copy);
  return verdictOf({ ...file, cases: [copy as ReplayableCase] });
}

type Mutable<T> = T extends object ? { -readonly [Name in keyof T]: Mutable<T[Name]> } : T;

function fieldsOf(verdict: Verdict): readonly string[] {
  return verdict.kind === 'differ' ? verdict.differences.map(({ field }) => field) : [verdict.kind];
}

test('the comparison finds what is planted', () => {
  const split = lone('split', (one) => one.requests.length > 3 && one.requests.length < 20);
  assert.equal(verdictOf(split).kind, 'agree');
  const bytes = split.cases[0]?.result.ret ?? 0;
  const expect = (field: string, change: Parameters<typeof planted>[1]): void => {
    assert.deepEqual(fieldsOf(planted(split, change)), [field]);
  };
  expect('result', (one) => Object.assign(one.result, { ret: bytes - 512 }));
  expect('result', (one) => Object.assign(one.result, { ret: -1, errno: 22 }));
  expect('bios', (one) => Object.assign(one.bios[0] ?? {}, { sector: 1 }));
  expect('bios', (one) => one.bios[0]?.vecs[0]?.push(1));
  expect('bios', (one) => one.bios[0]?.vecs.pop());
  expect('splits', (one) => Object.assign(one, { events: one.events.map(moveSplit) }));
  expect('merges', (one) => one.events.push('backmerge 0+8'));
  expect('requests', (one) => Object.assign(one.requests[1] ?? {}, { nrPhysSegments: 99 }));
  expect('requests', (one) => one.requests.pop());
  expect('requests', (one) => one.requests[0]?.bios.push([0, 512, 1]));
  const all = planted(split, (one) => Object.assign(one, { bios: [], events: [], requests: [] }));
  assert.deepEqual(fieldsOf(all), ['bios', 'splits', 'requests']);
});

function moveSplit(event: string): string {
  return event.replace(/^split (\d+)\+/, (_, sector: string) => `split ${Number(sector) + 1}+`);
}

test('a fault elsewhere, and another answer to it, are found', () => {
  // A read of three pages whose second is absent, after which the kernel tried its page cache.
  const isShort = (one: ReplayableCase): boolean =>
    one.op === 'read' &&
    one.iov[0]?.holePage === 1 &&
    one.iov[0].length === 3 * 4096 &&
    one.bios.some((bio) => bio.fromPageCache === true);
  const fault = lone('align', isShort);
  assert.equal(verdictOf(fault).kind, 'agree');
  const hole = planted(fault, (one) => {
    const [vector] = (one as Mutable<TransferCase>).iov;
    Object.assign(vector ?? {}, { holePage: 2 });
  });
  assert.deepEqual(fieldsOf(hole), ['result', 'bios', 'requests']);
  const none = planted(fault, (one) => Object.assign(one.result, { ret: -1, errno: 14 }));
  assert.deepEqual(fieldsOf(none), ['result']);
  const mapped = planted(fault, (one) => {
    for (const vector of (one as Mutable<TransferCase>).iov) delete vector.holePage;
  });
  assert.deepEqual(fieldsOf(mapped), ['result', 'bios', 'requests']);
  const strange = planted(fault, (one) => {
    for (const vector of (one as Mutable<TransferCase>).iov) vector.kind = 'device-memory';
  });
  assert.deepEqual(strange, { kind: 'not-covered', why: 'memory of kind device-memory' });
});

test('a merge in another place, and an iocb with another result, are found', () => {
  const merge = lone('merge', (one) => one.events.some((event) => event.startsWith('backmerge')));
  assert.equal(verdictOf(merge).kind, 'agree');
  const front = planted(merge, (one) => {
    const at = one.events.findIndex((event) => event.startsWith('backmerge'));
    one.events[at] = (one.events[at] ?? '').replace('back', 'front');
  });
  assert.deepEqual(fieldsOf(front), ['merges']);
  const result = planted(merge, (one) => Object.assign(one.result, { results: [-5] }));
  assert.deepEqual(fieldsOf(result), ['result']);
});

test('order and scatterlists have columns of their own and fail nothing', () => {
  const split = lone('split', (one) => one.requests.length > 3);
  const turned = planted(split, (one) => one.requests.reverse());
  assert.deepEqual(turned, { kind: 'agree', isOrderEqual: false, isSgEqual: true });
  const moved = planted(split, (one) => one.requests[0]?.sg.push([4096, 512]));
  assert.deepEqual(moved, { kind: 'agree', isOrderEqual: true, isSgEqual: false });
});

test('a crash excuses only an input that the rule names', () => {
  const split = lone('split', (one) => one.requests.length > 3);
  const crashed = planted(split, (one) => {
    Object.assign(one, { result: { crash: 'kernel BUG' }, bios: [], events: [], requests: [] });
  });
  assert.equal(crashed.kind, 'differ');
});

/** An io_submit that nobody recorded, on the device of a recorded case with `change`. */
function invented(
  ranges: readonly (readonly [sector: number, pages: number])[],
  change: Partial<Pick<DeviceRecord, 'scheduler' | 'limits'>>,
  profile: 'linux-6.1' | 'linux-6.12',
): Replayed {
  const file = lone('merge', (one) => one.op === 'aio' && one.submits.length === 1);
  const submits = ranges.map(([sector, pages]) => ({
    op: 'read',
    fileOffset: sector * 512,
    iov: [{ kind: 'pool', offset: 0, length: pages * 4096, pages: [[sector * 2, pages]] }],
  }));
  const one = { ...file.cases[0], submits } as unknown as AioCase;
  const device = file.devices[one.device];
  assert(device !== undefined);
  const limits = { ...device.limits, ...change.limits };
  const devices = { [one.device]: { ...device, ...change, limits } };
  const [{ ours }] = [...judgeFile({ ...file, cases: [one], devices }, profileNamed(profile))] as [
    Judged,
  ];
  assert(ours !== null);
  return ours;
}

test('requests that a scheduler joins at insertion are one request', () => {
  // No recorded case shows it: the plug tries its last request only, mq-deadline the others, too.
  const ranges = [
    [0, 1],
    [16, 1],
    [32, 1],
    [8, 1],
  ] as const;
  const { requests, events } = invented(ranges, { scheduler: 'none [mq-deadline]' }, 'linux-6.12');
  const seen = requests.map(({ sector, bytes, bios }) => [sector, bytes, bios.length]);
  assert.deepEqual(seen, [
    [0, 8192, 2],
    [16, 4096, 1],
    [32, 4096, 1],
  ]);
  assert(events.includes('rqmerge 8+8'));
});

test('a plug is issued before it grows behind 128 KiB, unless the queue never merges', () => {
  // nomerges 1 forbids extended merges only. Last in, first out shows where the plug was issued.
  const ranges = [
    [0, 32],
    [300, 1],
    [400, 1],
  ] as const;
  const order = (nomerges: number): number[] => {
    const limits = { integrity: null, maxHwSectors: 1024, maxSectors: 1024, nomerges };
    return invented(ranges, { limits }, 'linux-6.1').requests.map(({ sector }) => sector);
  };
  assert.deepEqual(order(0), [0, 400, 300]);
  assert.deepEqual(order(1), [0, 400, 300]);
  assert.deepEqual(order(2), [400, 300, 0]);
});

function oracle(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const script = join(import.meta.dirname, '../../scripts/oracle.ts');
  return spawnSync(process.execPath, [script, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 });
}

test('the command: counts, JSON lines, exit status', () => {
  const folder = mkdtempSync(join(tmpdir(), 'oracle-'));
  try {
    const split = lone('split', (one) => one.requests.length > 3);
    const good = join(folder, 'good.json');
    writeFileSync(good, JSON.stringify(split));
    const [one] = split.cases as [ReplayableCase];
    const bad = join(folder, 'bad.json');
    const wrong = { ...one, result: { ...one.result, ret: 1 } };
    writeFileSync(bad, JSON.stringify({ ...split, cases: [wrong] }));

    const emitted = oracle('--emit', good);
    assert.equal(emitted.status, 0, emitted.stderr);
    const ours = JSON.parse(emitted.stdout) as ReplayableCase;
    assert.deepEqual(ours.bios, one.bios);
    assert.deepEqual(ours.requests, one.requests);
    assert.equal(ours.id, one.id);

    const { status, stdout } = oracle('--json', good, bad);
    assert.equal(status, 1);
    const { total } = JSON.parse(stdout) as { total: Record<string, number> };
    assert.equal(total['agree'], 1);
    assert.equal(total['differ'], 1);

    assert.match(oracle('--case', one.id, bad).stdout, /expected .*\[1,0/);
    assert.equal(oracle('--case', 'none-such', good).status, 2);
    assert.equal(oracle('--profile', 'linux-2.4', good).status, 2);
    assert.equal(oracle('--what').status, 2);
    assert.equal(oracle(join(folder, 'absent.json')).status, 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
