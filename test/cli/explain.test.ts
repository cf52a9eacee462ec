import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder, run } from './command.ts';

async function lines(args: readonly string[], code = 0): Promise<string> {
  const ended = await run(['explain', ...args]);
  assert.equal(ended.code, code, ended.stderr);
  assert.equal(ended.stderr, '');
  for (const line of ended.stdout.split('\n')) assert.ok(line.length <= 120, line);
  return ended.stdout;
}

/** As many steps as there are, numbered from 1. */
function verbs(text: string): string[] {
  const steps = [...text.matchAll(/^ *(\d+) {2}(\w+)/gm)];
  assert.deepEqual(
    steps.map(([, number]) => Number(number)),
    steps.map((_, i) => i + 1),
  );
  return steps.map(([, , verb]) => verb ?? '');
}

test('a mapped write: the pages of the program go to the device', async () => {
  const text = await lines(['write', '--iov', '0x10000+16K', '--limits', 'nvme']);
  const path = ['map', 'hold', 'bio', 'request', 'issue', 'complete', 'end', 'release'];
  assert.deepEqual(verbs(text), path);
  assert.match(text, /memory 0: 0x00010000 \+ 16 KiB, 4 pages in 4 fragments/);
  assert.match(text, /hold +4 pages of the program, pinned by transfer 1, in 4 bvecs/);
  assert.match(text, /16 KiB written, data compared: identical/);
  assert.match(text, /mapped 16 KiB, copied 0 B/);
  assert.match(text, /\nheld now: 0\n$/);
});

test('a bounced read: an odd address is copied, and the limit is named', async () => {
  const text = await lines(['read', '--iov', '0x10001+8K', '--limits', 'nvme']);
  assert.match(text, /copy +the device gets pages of the path, the bytes are copied/);
  assert.match(text, /range 0, 0x00010001 \+ 8192 bytes, is no multiple of 4, as dma_alignment 3/);
  assert.match(text, /2 bounce pages, owned by transfer 1/);
  assert.match(text, /8 KiB from own pages back to the program \(reason: address\)/);
  assert.match(text, /8 KiB read, data compared: identical/);
  assert.match(text, /mapped 0 B, copied 8 KiB \(address\)/);
  assert.match(text, /\nheld now: 0\n$/);
});

test('a split read: the limit of each cut', async () => {
  const gap = await lines(['read', '--iov', '0x10000+16K,0x30200+4K', '--limits', 'nvme']);
  assert.match(gap, /bio 1\.1 is cut off bio 1: 16 KiB at sector 0, 4 KiB are left/);
  assert.match(gap, /because of virt_boundary_mask 4095/);
  assert.match(gap, /bios 1, splits 1, merges 0, requests 2/);
  const size = await lines(['read', '--iov', '1M+1M', '--limits', 'nvme', '--contiguous']);
  assert.match(size, /1 fragment \(contiguous frames\)/);
  assert.match(size, /because of max_sectors 1024: a request has at most 512 KiB/);
  const pieces = await lines(['read', '--iov', '1M+700K', '--limits', 'sata']);
  assert.match(pieces, /because of max_segments 168/);
});

test('limits from a file: a chunk, and pieces that are too small to cut', async (t) => {
  const file = join(makeFolder(t), 'limits.json');
  writeFileSync(file, '{ "chunk_sectors": 16, "physical_block_size": 512 }');
  const chunk = await lines(['write', '--iov', '0+16K', '--limits', file, '--offset', '4K']);
  assert.match(chunk, /because of chunk_sectors 16: no request crosses a multiple of 8 KiB/);
  writeFileSync(file, '{ "max_segments": 1, "logical_block_size": 4096 }');
  const iov = '0x1000+512,0x3200+512,0x5000+3K';
  const small = await lines(['read', '--iov', iov, '--limits', file]);
  assert.deepEqual(verbs(small).slice(0, 2), ['map', 'copy']);
  assert.match(small, /max_segments 1 of these pieces hold less than one block of 4096 bytes/);
});

test('a partial block is read before it is written', async () => {
  const text = await lines(['write', '--iov', '0+5000', '--limits', 'nvme', '--offset', '300']);
  assert.match(text, /position 300 is no multiple of logical_block_size 512/);
  assert.match(text, /bio 1: read 512 B at sector 0/);
  assert.match(text, /write 4\.5 KiB at sector 1/);
  assert.match(text, /copied 212 B \(offset\), 180 B \(length\), read before write 1 KiB/);
  assert.match(text, /5000 B written, data compared: identical/);
});

test('bios merge in the plug, and a profile changes what happens', async () => {
  const iov = ['write', '--iov', '1M+3M', '--limits', 'unlimited'];
  const text = await lines([...iov, '--profile', 'linux-6.1']);
  assert.match(text, /merge +bio 2 joins request 1 at its end: now 2 MiB, 512 segments/);
  assert.match(text, /bios 3, splits 0, merges 2, requests 1/);
  const ours = await lines(['read', '--iov', '1M+2M', '--limits', 'virtio', '--contiguous']);
  assert.doesNotMatch(ours, / split /);
  const old = ['read', '--iov', '1M+2M', '--limits', 'virtio', '--contiguous'];
  assert.match(await lines([...old, '--profile', 'linux-6.1']), /because of max_sectors 2560/);
});

test("copy 'never' refuses with the limit, and 'always' copies what would fit", async () => {
  const iov = ['write', '--limits', 'nvme', '--iov'];
  const refused = await lines([...iov, '0x1001+4K', '--copy', 'never'], 1);
  assert.deepEqual(verbs(refused), ['refuse']);
  assert.match(refused, /-EINVAL: .* no multiple of dma_alignment \+ 1 = 4, and copy is 'never'/);
  assert.match(refused, /\nheld now: 0\n$/);
  const copied = await lines([...iov, '0x1000+4K', '--copy', 'always']);
  assert.match(copied, /because copy 'always' was asked for/);
});

test('--json: the same as events, every one with the trace id', async () => {
  const args = ['read', '--iov', '0x10001+1M', '--limits', 'nvme', '--json'];
  const { code, stdout } = await run(['explain', ...args]);
  assert.equal(code, 0);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ step, trace }) => [step, trace]),
    events.map((_, i) => [i, 1]),
  );
  const of = (type: string) => events.filter((event) => event.type === type);
  assert.equal(events[0].type, 'transfer');
  assert.equal(events[0].limits.max_sectors, 1024);
  assert.equal(of('map')[0].verdict, 'copy');
  assert.equal(of('split')[0].limit, 'max_sectors');
  assert.equal(of('split')[0].bio, '1.1');
  assert.deepEqual(
    of('issue').map(({ bios }) => bios),
    [['1.1'], ['1']],
  );
  assert.equal(of('copy')[0].direction, 'back');
  const sum = (type: string) => of(type).reduce((pages, event) => pages + event.pages, 0);
  assert.equal(sum('hold'), sum('release'));
  const last = events.at(-1);
  assert.equal(last.type, 'result');
  assert.equal(last.result, 1024 * 1024);
  assert.equal(last.isDataRight, true);
  assert.equal(last.counts.heldNow, 0);
});

test('the same question has the same answer', async () => {
  const args = ['read', '--iov', '0x10000+64K,0x30200+4K', '--limits', 'nvme'];
  assert.equal(await lines(args), await lines(args));
});

test('bad input ends with 2 and a sentence', async (t) => {
  const file = join(makeFolder(t), 'limits.json');
  writeFileSync(file, '{ "max_segment": 4 }');
  const good = ['read', '--iov', '0+4K', '--limits', 'nvme'];
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['erase', ...good.slice(1)], /'erase' is neither read nor write/],
    [['read', '--limits', 'nvme'], /required option '--iov <ranges>'/],
    [['read', '--iov', '0x1000', '--limits', 'nvme'], /'0x1000' is no ADDR\+LEN/],
    [['read', '--iov', '0x1000+x', '--limits', 'nvme'], /'x' is no size/],
    [['read', '--iov', '0x1000+0', '--limits', 'nvme'], /names no byte/],
    [['read', '--iov', '0+4G', '--limits', 'nvme'], /at most 64 MiB can be explained/],
    [['read', '--iov', '0x1fffffffffffff+4K', '--limits', 'nvme'], /no program has such an addr/],
    [['read', '--iov', '0+4K', '--limits', 'floppy'], /neither a preset \(nvme, .* nor a file/],
    [['read', '--iov', '0+4K', '--limits', file], /the nearest is 'max_segments'/],
    [[...good, '--profile', 'linux-2.4'], /profile 'linux-2.4' is none of/],
    [[...good, '--offset', '-1'], /is no size/],
    [[...good, '--copy', 'perhaps'], /Allowed choices are auto, never, always/],
  ];
  for (const [args, sentence] of cases) {
    const { code, stdout, stderr } = await run(['explain', ...args]);
    assert.equal(code, 2, args.join(' '));
    assert.match(stderr, sentence);
    assert.equal(stdout, '');
  }
});

test('--pi: the tuples that go with a write and come back with a read', async () => {
  // CRC16 of 512 zeros is 0: the memory of a write has a pattern, so its guards are not.
  const write = await lines(['write', '--iov', '0+4K', '--limits', 'nvme', '--pi', 'crc16']);
  const steps = ['map', 'hold', 'bio', 'tuples', 'request', 'issue', 'complete', 'end', 'release'];
  assert.deepEqual(verbs(write), steps);
  assert.match(write, /tuples +64 B of metadata from block 0 on, made here\n/);
  assert.match(write, /block 3: guard (?!0000)[0-9a-f]{4} app 0000 ref 00000003\n(?! +block 4)/);
  assert.match(write, /metadata +made 64 B, checked 0 B\n/);
  const pi = 'crc64,metadata-size=32,offset=16';
  const at = ['--iov', '0+8K', '--limits', '4kn', '--offset', '8K', '--pi', pi];
  const read = await lines(['read', ...at]);
  assert.match(read, /tuples +64 B of metadata from block 2 on came back; the first:\n/);
  assert.match(read, /block 3: guard [0-9a-f]{16} app 0000 ref 000000000003\n/);
  assert.match(read, /8 KiB read, data compared: identical/);
  assert.match(read, /metadata +made 0 B, checked 64 B\n/);
  const { stdout } = await run(['explain', 'read', ...at, '--json']);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const { direction, owner, block, bytes, tuples } = events.find(({ type }) => type === 'metadata');
  assert.deepEqual(
    { direction, owner, block, bytes },
    {
      direction: 'back',
      owner: 'path',
      block: 2,
      bytes: 64,
    },
  );
  assert.equal(tuples.length, 2);
});

test('--pi: a format that cannot be is bad usage', async () => {
  for (const [pi, reason] of [
    ['md5', /--pi: pi is 'md5'; it may be ip, crc16, crc64/],
    ['crc16,interval=8192', /--pi: interval_exp is 13/],
    ['crc16,colour=red', /--pi: 'colour' is none of/],
  ] as const) {
    const ended = await run(['explain', 'read', '--iov', '0+4K', '--limits', '4kn', '--pi', pi]);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, reason);
  }
});
