import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { makeFolder, run } from './command.ts';

const PAGE = 4096;

async function explained(args: readonly string[], code = 0): Promise<string> {
  const ended = await run(['explain', ...args]);
  assert.equal(ended.code, code, ended.stderr);
  const isText = !args.includes('--json');
  for (const line of ended.stdout.split('\n')) assert.ok(!isText || line.length <= 120, line);
  return ended.stdout;
}

function verbs(text: string): string[] {
  return [...text.matchAll(/^ *\d+ {2}(\w+)/gm)].map(([, verb]) => verb ?? '');
}

interface Rows {
  readonly type: string;
  readonly segments?: readonly { address: number; bytes: number }[];
  readonly ranges?: readonly { address: number; bytes: number }[];
  readonly rows?: readonly { kind: string; list: number | null; address: number; bytes: number }[];
  readonly listPages?: number;
  readonly isDataRight?: boolean;
}

async function events(args: readonly string[]): Promise<Rows[]> {
  const text = await explained([...args, '--json']);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Rows);
}

function only(all: readonly Rows[], type: string): Rows {
  const found = all.filter((event) => event.type === type);
  assert.equal(found.length, 1, type);
  return found[0] as Rows;
}

describe('a controller', () => {
  test('scatterlist, device ranges and pointer stand between request and issue', async () => {
    const args = ['write', '--iov', '0x10100+64K', '--limits', 'nvme', '--controller', 'prp'];
    const text = await explained(args);
    const path = ['map', 'hold', 'bio', 'request', 'scatter', 'dma', 'pointer', 'issue', 'unmap'];
    assert.deepEqual(verbs(text), [...path, 'complete', 'end', 'release']);
    assert.match(text, /device: an NVMe controller, PRPs, DMA iommu, through the queue/);
    assert.match(text, /request 1 as a scatterlist: 17 entries, 64 KiB/);
    assert.match(text, /17 entries in 1 device range, by IOVA/);
    assert.match(text, /PRP: 17 entries, in 1 list page/);
    assert.match(text, /64 KiB written, data compared: identical/);
    assert.match(text, /\nheld now: 0\n$/);
  });

  test('bounce buffers: addresses of 32 bits, and what comes back', async () => {
    const args = ['read', '--iov', '0x10000+24K', '--limits', 'nvme', '--controller', 'sgl'];
    const text = await explained([...args, '--dma', 'bounce']);
    assert.match(text, /6 device ranges, by physical addresses of 32 bits; 6 through bounce/);
    assert.match(text, /SGL: 6 descriptors, in 1 list page/);
    assert.match(text, /6 bounce buffers copied back/);
    assert.match(text, /24 KiB read, data compared: identical/);
    const all = await events([...args, '--dma', 'bounce']);
    for (const { address } of only(all, 'dma').ranges ?? []) assert.ok(address < 2 ** 32);
    for (const { address } of only(all, 'scatter').segments ?? []) assert.ok(address >= 2 ** 32);
  });

  test('bounce memory runs out: a request waits, and all bytes arrive', async () => {
    const args = ['read', '--iov', '1M+8M', '--limits', 'unlimited', '--controller', 'sgl'];
    const text = await explained([...args, '--dma', 'bounce', '--contiguous']);
    assert.match(text, /refuse .*waits for a completion: the bounce memory is full/);
    assert.match(text, /8 MiB read, data compared: identical/);
  });

  test('chained lists: the rows of the pointer name all ranges, in order', async (t) => {
    const file = join(makeFolder(t), 'limits.json');
    writeFileSync(
      file,
      JSON.stringify({
        max_hw_sectors: 8192,
        max_sectors: 8192,
        max_segments: 1024,
        virt_boundary_mask: 4095,
      }),
    );
    const args = ['write', '--iov', '1M+2400K', '--limits', file, '--dma', 'direct'];
    // 600 pages: one PRP in the command, 511 in a list that goes on, 88; SGL: 255, 255, 90.
    const prp = await events([...args, '--controller', 'prp']);
    const pages = (only(prp, 'dma').ranges ?? []).flatMap(({ address, bytes }) => {
      const out: [number, number][] = [];
      for (let at = address; at < address + bytes; ) {
        const next = Math.min(at - (at % PAGE) + PAGE, address + bytes);
        out.push([at, next - at]);
        at = next;
      }
      return out;
    });
    const { rows = [], listPages } = only(prp, 'pointer');
    assert.equal(listPages, 2);
    const data = rows.filter(({ kind }) => kind === 'prp');
    assert.deepEqual(
      data.map(({ address, bytes }) => [address, bytes]),
      pages,
    );
    assert.deepEqual(
      rows.flatMap(({ kind }, i) => (kind === 'prp' ? [] : [i])),
      [1, 513],
    );
    assert.equal(only(prp, 'result').isDataRight, true);
    const sgl = await events([...args, '--controller', 'sgl']);
    const ranges = only(sgl, 'dma').ranges ?? [];
    const pointer = only(sgl, 'pointer');
    assert.equal(pointer.listPages, 3);
    const blocks = (pointer.rows ?? []).filter(({ kind }) => kind === 'data');
    assert.deepEqual(
      blocks.map(({ address, bytes }) => ({ address, bytes })),
      ranges,
    );
    const chains = (pointer.rows ?? []).filter(({ kind }) => kind !== 'data');
    assert.deepEqual(
      chains.map(({ kind }) => kind),
      ['segment', 'segment', 'last-segment'],
    );
  });
});

describe('a command past the queue', () => {
  const nvme = ['--limits', 'nvme', '--controller', 'prp', '--passthrough'];

  test('metadata by the same rule: one entry is mapped, two are copied, and why', async () => {
    const one = await explained(['write', '--iov', '0x10000+4K', ...nvme, '--meta', '0x50000+64']);
    assert.match(one, /meta +64 B of metadata as they lie, 1 entry of the program pinned/);
    const args = ['read', '--iov', '0x10000+4K', ...nvme, '--meta', '0x50ff0+64'];
    const two = await explained(args);
    assert.deepEqual(verbs(two).slice(0, 3), ['map', 'meta', 'request']);
    assert.match(two, /64 B of metadata through own pages in 1 row, 2 entries of the program/);
    assert.match(two, /because its pieces are more than max_integrity_segments 1/);
    assert.match(two, /copied 64 B \(segments\)/);
    assert.match(two, /4 KiB read, data compared: identical\n/);
    assert.match(two, /\nheld now: 0\n$/);
    const odd = await explained(['read', '--iov', '0x10000+4K', ...nvme, '--meta', '0x50001+8']);
    assert.match(odd, /because it does not lie on 4 bytes, as dma_alignment 3 asks/);
  });

  test('too many pieces: copied whole, or refused; too long: refused', async () => {
    const args = ['write', '--iov', '0x100200+512K', ...nvme];
    const copied = await explained(args);
    assert.match(copied, /the memory is more than max_segments 128 pieces, and a command is never/);
    assert.match(copied, /512 KiB written, data compared: identical/);
    assert.match(copied, /copied 512 KiB \(segments\)/);
    const refused = await explained([...args, '--copy', 'never'], 1);
    assert.match(
      refused,
      /result +-EINVAL: more than max_segments 128 pieces, and copy is 'never'/,
    );
    const long = await explained(['write', '--iov', '1M+1M', ...nvme], 1);
    assert.match(long, /nothing is sent, and no copy would be shorter/);
    assert.match(long, /a command carries at most max_hw_sectors 1024/);
  });
});

test('bad usage of the new options is said in a sentence', async () => {
  const base = ['explain', 'read', '--iov', '0x1000+4K', '--limits'];
  const cases: [string[], RegExp][] = [
    [['virtio', '--controller', 'prp'], /need virt_boundary_mask 4095; it is 0/],
    [['nvme', '--dma', 'iommu'], /--dma is for --controller/],
    [['nvme', '--passthrough'], /--passthrough is for --controller/],
    [['nvme', '--meta', '0+8'], /--meta is for --passthrough/],
    [['nvme', '--controller', 'xyz'], /Allowed choices are prp, sgl/],
    [['nvme', '--controller', 'sgl', '--offset', '1G'], /at most 256 MiB/],
    [['nvme', '--controller', 'sgl', '--passthrough', '--offset', '7'], /a block of 512 bytes/],
    [['nvme', '--controller', 'sgl', '--passthrough', '--meta', '0+8,64+8'], /one range/],
  ];
  for (const [args, sentence] of cases) {
    const ended = await run([...base, ...args]);
    assert.equal(ended.code, 2, args.join(' '));
    assert.match(ended.stderr, sentence);
  }
});
