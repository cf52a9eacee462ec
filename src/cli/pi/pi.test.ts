import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Command, CommanderError } from 'commander';
import { BlockError } from '../../base/block-error.ts';
import { noise } from '../../integrity/pi-format.fuzz.ts';
import { type ModelFormat, modelGenerate } from '../../integrity/pi-model.fuzz.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { addPi } from './pi-program.ts';

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-pi-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Ended {
  readonly code: ExitCode;
  readonly text: string;
}

/** `biovec pi …`, with the exit codes of the whole command. */
async function pi(...args: string[]): Promise<Ended> {
  const result = { code: ExitCode.OK as ExitCode, text: '' };
  const program = new Command('biovec').exitOverride().configureOutput({ writeErr: () => {} });
  const out = { write: (text: string) => (result.text += text) };
  addPi(program, (code) => (result.code = code), out);
  try {
    await program.parseAsync(['pi', ...args], { from: 'user' });
  } catch (error) {
    if (error instanceof UsageError || error instanceof CommanderError) {
      return { code: ExitCode.USAGE, text: error.message };
    }
    if (error instanceof BlockError) return { code: ExitCode.FAILED, text: error.message };
    throw error;
  }
  return result;
}

interface FormatCase {
  readonly flags: readonly string[];
  readonly model: ModelFormat;
}

const FORMATS: readonly FormatCase[] = [
  {
    flags: [],
    model: { csum: 'crc16', intervalBytes: 512, metadataBytes: 8, prefixBytes: 0, countsRef: true },
  },
  {
    flags: ['--format', 'crc64', '--interval', '4K', '--metadata-size', '64', '--offset', '48'],
    model: {
      csum: 'crc64',
      intervalBytes: 4096,
      metadataBytes: 64,
      prefixBytes: 48,
      countsRef: true,
    },
  },
  {
    flags: ['--format', 'ip', '--type', '3'],
    model: { csum: 'ip', intervalBytes: 512, metadataBytes: 8, prefixBytes: 0, countsRef: false },
  },
];

/** Larger than one chunk, and no multiple of it. */
const BYTES = 3 * 1024 * 1024 + 5 * 4096;
const SEED = 0xfffffffe;

function blocksOf(model: ModelFormat): number {
  return BYTES / model.intervalBytes;
}

for (const { flags, model } of FORMATS) {
  const name = `${model.csum}, ${model.intervalBytes} + ${model.metadataBytes}`;

  test(`generate and verify: ${name}`, async (t) => {
    const folder = makeFolder(t);
    const [image, meta] = [join(folder, 'image'), join(folder, 'meta')];
    const data = noise(BYTES, 4);
    writeFileSync(image, data);
    writeFileSync(meta, noise(2 ** 20, 5)); // An old, longer file.
    const made = await pi('generate', image, meta, ...flags, '--seed', `${SEED}`);
    assert.equal(made.code, ExitCode.OK, made.text);
    const expected = new Uint8Array(blocksOf(model) * model.metadataBytes);
    modelGenerate(model, data, expected, BigInt(SEED), 0);
    assert.ok(readFileSync(meta).equals(expected));
    const good = await pi('verify', image, meta, ...flags, '--seed', `${SEED}`);
    assert.equal(good.code, ExitCode.OK);
    assert.match(good.text, new RegExp(`^0 of ${blocksOf(model)} blocks are bad`));
  });

  test(`interleaved: ${name}`, async (t) => {
    const folder = makeFolder(t);
    const [image, woven] = [join(folder, 'image'), join(folder, 'woven')];
    const data = noise(BYTES, 6);
    writeFileSync(image, data);
    const all = [...flags, '--interleaved'];
    assert.equal((await pi('generate', image, woven, ...all)).code, ExitCode.OK);
    const records = new Uint8Array(blocksOf(model) * model.metadataBytes);
    modelGenerate(model, data, records, 0n, 0);
    const bytes = readFileSync(woven);
    const unit = model.intervalBytes + model.metadataBytes;
    assert.equal(bytes.length, blocksOf(model) * unit);
    for (let i = 0; i < blocksOf(model); i++) {
      const start = i * model.intervalBytes;
      const at = i * unit + model.intervalBytes;
      const block = data.subarray(start, start + model.intervalBytes);
      const record = records.subarray(i * model.metadataBytes, (i + 1) * model.metadataBytes);
      assert.ok(bytes.subarray(i * unit, at).equals(block));
      assert.ok(bytes.subarray(at, at + model.metadataBytes).equals(record));
    }
    assert.equal((await pi('verify', woven, ...all)).code, ExitCode.OK);
  });
}

test('every bad block is named, lowest first, with tag, expected and actual', async (t) => {
  const folder = makeFolder(t);
  const [image, meta] = [join(folder, 'image'), join(folder, 'meta')];
  const data = noise(BYTES, 7);
  writeFileSync(image, data);
  await pi('generate', image, meta, '--app-tag', '0x1234');
  const records = readFileSync(meta);
  // Blocks 9 and 6000 lose a bit of data, block 3 has the ref tag of another, 5 another app tag.
  data[9 * 512 + 100] = ~(data[9 * 512 + 100] as number);
  data[6000 * 512] = ~(data[6000 * 512] as number);
  records.writeUInt32BE(77, 3 * 8 + 4);
  records.writeUInt16BE(0x1235, 5 * 8 + 2);
  writeFileSync(image, data);
  writeFileSync(meta, records);
  const bad = await pi('verify', image, meta, '--json');
  assert.equal(bad.code, ExitCode.FAILED);
  const report = JSON.parse(bad.text);
  assert.equal(report.bad, 3);
  assert.equal(report.checked, BYTES / 512);
  assert.equal(report.isComplete, true);
  const told = report.faults.map(({ block, tag }: { block: number; tag: string }) => [block, tag]);
  assert.deepEqual(told, [
    [3, 'ref tag'],
    [9, 'guard tag'],
    [6000, 'guard tag'],
  ]);
  assert.equal(report.faults[0].expected, '00000003');
  assert.equal(report.faults[0].actual, '0000004d');
  assert.equal(report.faults[1].actual, records.toString('hex', 9 * 8, 9 * 8 + 2));

  const text = await pi('verify', image, meta, '--list', '1');
  assert.match(
    text.text,
    /^block 3: ref tag is 0x0000004d, expected 0x00000003\n\.\.\. and 2 more/,
  );
  const guards = await pi('verify', image, meta, '--check', 'guard', '--json');
  assert.equal(JSON.parse(guards.text).bad, 2);
  const apps = ['--check', 'app', '--app-tag', '0x1234', '--json'];
  const app = JSON.parse((await pi('verify', image, meta, ...apps)).text);
  assert.deepEqual(app.faults, [{ block: 5, tag: 'app tag', expected: '1234', actual: '1235' }]);
  const masked = await pi('verify', image, meta, ...apps, '--app-mask', '0xfff0');
  assert.equal(masked.code, ExitCode.OK);
});

test('a thousand bad blocks are counted, and the first ones listed', async (t) => {
  const folder = makeFolder(t);
  const [image, meta] = [join(folder, 'image'), join(folder, 'meta')];
  writeFileSync(image, noise(BYTES, 8));
  await pi('generate', image, meta, '--seed', '1');
  const { text } = await pi('verify', image, meta, '--list', '3', '--json');
  const report = JSON.parse(text);
  assert.equal(report.bad, BYTES / 512);
  assert.deepEqual(
    report.faults.map(({ block }: { block: number }) => block),
    [0, 1, 2],
  );
});

test('dump shows tuples as they lie there', async (t) => {
  const folder = makeFolder(t);
  const meta = join(folder, 'meta');
  writeFileSync(meta, Buffer.from('d0db000000000005ffffffff00000006', 'hex'));
  const text = await pi('dump', meta);
  const lines = '0  guard d0db  app 0000  ref 00000005\n1  guard ffff  app ffff  ref 00000006';
  assert.equal(text.text, `${lines}  not checked\n`);
  const one = await pi('dump', meta, '--start', '1', '--count', '1', '--json', '--type', '3');
  const tuple = { block: 1, guard: 'ffff', app: 'ffff', ref: '00000006', isEscape: false };
  assert.deepEqual(JSON.parse(one.text), tuple);
});

test('what does not go together is bad usage, what is not there is a failure', async (t) => {
  const folder = makeFolder(t);
  const [image, meta] = [join(folder, 'image'), join(folder, 'meta')];
  writeFileSync(image, noise(1024, 1));
  writeFileSync(meta, new Uint8Array(16));
  const usage: readonly (readonly [readonly string[], RegExp])[] = [
    [['verify', image], /--interleaved/],
    [['verify', image, meta, '--interleaved'], /--interleaved/],
    [['generate', image, meta, '--interval', '500'], /500 bytes is no power of two/],
    [['generate', image, meta, '--metadata-size', '4'], /pi_offset is 0/],
    [['generate', image, meta, '--format', 'crc32'], /crc16, crc64, ip/],
    [['generate', image, meta, '--app-tag', '65536'], /0 to 65535/],
    [['verify', image, meta, '--check', 'guard,all'], /'all' is none of guard, ref, app/],
    [['generate', '-', meta], /stream/],
  ];
  for (const [args, words] of usage) {
    const { code, text } = await pi(...args);
    assert.equal(code, ExitCode.USAGE, args.join(' '));
    assert.match(text, words);
  }
  const failures: readonly (readonly [readonly string[], RegExp])[] = [
    [['verify', join(folder, 'none'), meta], /ENOENT/],
    [['generate', image, image], /the same file/],
    [['generate', image, meta, '--interval', '4096'], /1024 bytes are no multiple of 4096/],
    [['verify', image, meta, '--format', 'crc64'], /need 32 bytes of metadata, there are 16/],
    [['verify', image, meta, '--interval', '1024'], /1 block needs 8 .* are 16: they belong to an/],
    [['verify', image, 'ram:4K'], /2 of 2 blocks/], // A device may be larger than its records.
    [['generate', image, 'ram:4K', '--metadata-size', '4096'], /ENOSPC/],
  ];
  for (const [args, words] of failures) {
    const { code, text } = await pi(...args);
    assert.equal(code, ExitCode.FAILED, args.join(' '));
    assert.match(text, words);
  }
});

test('an empty image has no bad blocks', async (t) => {
  const folder = makeFolder(t);
  const [image, meta] = [join(folder, 'image'), join(folder, 'meta')];
  writeFileSync(image, '');
  assert.equal((await pi('generate', image, meta)).code, ExitCode.OK);
  assert.equal(readFileSync(meta).length, 0);
  assert.match((await pi('verify', image, meta)).text, /^0 of 0 blocks/);
});
