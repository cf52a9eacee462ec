import assert from 'node:assert/strict';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import { Arena } from '../../src/memory/arena.ts';
import { openEngine } from '../../src/targets/open-engine.ts';
import { parseTarget } from '../../src/targets/target.ts';

// The same little program on a FileHandle and on a Disk: same results, step by step.

const SIZE = 8192;
const CONTENT = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 7) % 251));

/** What both have; the arguments go in as they are. */
type Handle = Readonly<
  Record<
    'read' | 'readv' | 'write' | 'writev' | 'stat' | 'sync' | 'datasync' | 'truncate',
    (...args: never[]) => Promise<unknown>
  >
>;
type Step = readonly [name: keyof Handle, ...args: unknown[]];

const b = (length: number, fill = 0): Buffer => Buffer.alloc(length, fill);

/** A fresh list for each handle: the buffers are filled. */
const PROGRAMS: Readonly<Record<string, () => readonly Step[]>> = {
  'read(buffer, offset, length, position)': () => [
    ['read', b(10), 0, 10, 0],
    ['read', b(10), 2, 5, 100],
    ['read', b(10), 2, 5, 100n],
    ['read', b(10), 5],
    ['read', b(10), null, null, null],
    ['read', b(10), 3, null, 7],
    ['read', b(10), undefined, undefined, undefined],
    ['read', b(0)],
    ['read', b(10), 10],
    ['read', b(10), 0, 0, 5],
    ['read', b(10), 0, 10, SIZE - 4],
    ['read', b(10), 0, 10, SIZE],
    ['read', b(10), 0, 10, SIZE + 999],
  ],
  'read(buffer, options) and read(options)': () => [
    ['read', b(10), { position: 20 }],
    ['read', b(10), { offset: 4, length: 3, position: 21n }],
    ['read', b(10), { offset: 4 }],
    ['read', b(10), {}],
    ['read', b(10), null],
    ['read', { buffer: b(10), position: 30 }],
    ['read', { buffer: b(10), offset: 1, length: 2, position: null }],
    ['read', { position: 8000 }],
    ['read', {}],
    ['read'],
    ['read', null],
  ],
  'the current position moves': () => [
    ['read', b(100)],
    ['read', b(100), 0, 100, -1],
    ['read', b(100), 0, 100, null],
    ['read', b(50), 0, 50, 1000], // Not this one.
    ['read', b(100), 0, 10],
    ['readv', [b(3), b(4)]],
    ['readv', [b(3), b(4)], null],
    ['write', b(5, 9)],
    ['write', b(5, 8), 1, 2, null],
    ['writev', [b(3, 7), b(2, 6)]],
    ['write', 'text'],
    ['read', b(100), { offset: 0, position: -1n }],
    ['read', b(10), 0, 10, 200],
  ],
  'kinds of memory': () => [
    ['read', new Uint16Array(8), 3, 9, 1],
    ['read', new DataView(new ArrayBuffer(16), 4, 8), 2, 5, 10],
    ['read', new Float64Array(2), 0, null, 3],
    ['readv', [new Uint32Array(2), new DataView(new ArrayBuffer(3)), b(0), b(4)], 100],
    ['write', new Uint16Array([1, 2, 65535]), 1, 4, 50],
    ['write', new DataView(new ArrayBuffer(6)), 0, 6, 60],
    ['writev', [new Int32Array([-1, 5]), b(0), new Uint8Array([1, 2])], 70],
    ['read', b(100), 0, 100, 40],
  ],
  strings: () => [
    ['write', 'héllo', 10],
    ['write', '', 10],
    ['write', 'ff0102', 20, 'hex'],
    ['write', 'aGk=', 30, 'base64'],
    ['write', 'hi', 40, 'utf16le'],
    ['write', 'hé', 50, 'latin1'],
    ['write', 'utf', 60, 'utf8'],
    ['write', 'no position', null],
    ['read', b(100), 0, 100, 0],
  ],
  writes: () => [
    ['write', b(10, 1), 0, 10, 100],
    ['write', b(10, 2), 3, 4, 200],
    ['write', b(10, 3), { position: 300, offset: 9 }],
    ['write', b(10, 4), { position: 310, length: 2 }],
    ['write', b(0)],
    ['write', b(10, 4), 10],
    ['write', b(10), 0, 0, 5],
    ['writev', [b(600, 5), b(1, 6), b(700, 7)], 511],
    ['writev', [], 0],
    ['writev', [b(0), b(0)], 0],
    ['read', b(2048), 0, 2048, 0],
    ['sync'],
    ['datasync'],
  ],
};

/** Results without prototypes and class names, errors as the fact that there is one. */
async function play(handle: Handle, steps: readonly Step[]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const [name, ...args] of steps) {
    const method = handle[name] as (...args: unknown[]) => Promise<unknown>;
    const result = await method.apply(handle, args);
    const plain = result === undefined ? undefined : { ...(result as object) };
    results.push({ name, plain });
  }
  return results;
}

let folder = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'biovec-file-handle-'));
});
after(() => rm(folder, { recursive: true }));

const ENGINES: Readonly<Record<string, () => Promise<Engine>>> = {
  ram: async () => {
    const defer = (run: () => void): void => queueMicrotask(run);
    return openRamEngine({ sizeBytes: SIZE, limits: { logical_block_size: 512 }, defer });
  },
  file: async () => {
    const path = join(folder, 'disk.img');
    await writeFile(path, CONTENT);
    return openEngine(parseTarget(path));
  },
};

async function withBoth(
  openDisk: () => Promise<Engine>,
  body: (disk: Disk, handle: Awaited<ReturnType<typeof open>>) => Promise<void>,
): Promise<void> {
  const path = join(folder, 'plain.img');
  await writeFile(path, CONTENT);
  const handle = await open(path, 'r+');
  using arena = new Arena({ maxBytes: 2 ** 20, label: 'handle' });
  const disk = new Disk(new BlockDevice({ engine: await openDisk(), arena }));
  try {
    await disk.write(CONTENT, 0, SIZE, 0);
    await body(disk, handle);
    disk.assertNothingOutstanding();
  } finally {
    await handle.close();
    await disk.close();
  }
  arena.assertNothingOutstanding();
}

for (const [kind, openDisk] of Object.entries(ENGINES)) {
  describe(`Disk on ${kind} is a FileHandle`, () => {
    for (const [name, program] of Object.entries(PROGRAMS)) {
      test(name, () =>
        withBoth(openDisk, async (disk, handle) => {
          const expected = await play(handle as unknown as Handle, program());
          const actual = await play(disk as unknown as Handle, program());
          assert.deepEqual(actual, expected);
          const bytes = await handle.read(Buffer.alloc(SIZE), 0, SIZE, 0);
          const { buffer } = await disk.read(Buffer.alloc(SIZE), 0, SIZE, 0);
          assert.deepEqual(buffer, bytes.buffer);
        }),
      );
    }

    test('the buffer that comes back is the one that went in, or a Buffer', () =>
      withBoth(openDisk, async (disk) => {
        const view = new DataView(new ArrayBuffer(8));
        const list = [b(4), view] as const;
        assert.equal((await disk.read(view, 0, 8, 0)).buffer, view);
        assert.equal((await disk.write(view, 0, 8, 0)).buffer, view);
        assert.equal((await disk.readv(list, 0)).buffers, list);
        assert.equal((await disk.writev(list, 0)).buffers, list);
        assert.equal((await disk.write('text', 0)).buffer, 'text');
        assert.ok(Buffer.isBuffer((await disk.read()).buffer));
        assert.equal((await disk.read()).buffer.length, 16384);
      }));

    test('stat', () =>
      withBoth(openDisk, async (disk, handle) => {
        const [mine, theirs] = [await disk.stat(), await handle.stat()];
        assert.equal(mine.size, theirs.size);
        assert.ok(mine.blksize >= 512);
        assert.equal(mine.isDirectory(), false);
        assert.deepEqual([mine.isFile(), mine.isBlockDevice()], [kind === 'file', kind !== 'file']);
        assert.equal((await disk.stat({ bigint: true })).size, BigInt(SIZE));
      }));

    test('calls at the current position that are not awaited follow each other', () =>
      withBoth(openDisk, async (disk) => {
        const reads = await Promise.all([0, 1, 2, 3].map(() => disk.read(b(1000))));
        const bytes = Buffer.concat(reads.map(({ buffer }) => buffer));
        assert.deepEqual(bytes, CONTENT.subarray(0, 4000));
        await Promise.all([disk.write(b(10, 1)), disk.write(b(10, 2)), disk.write('end')]);
        const { buffer } = await disk.read(b(23), 0, 23, 4000);
        assert.deepEqual(buffer, Buffer.concat([b(10, 1), b(10, 2), Buffer.from('end')]));
      }));
  });
}

test('truncate: a file changes its size, other targets say why not', async () => {
  await withBoth(ENGINES['file'], async (disk, handle) => {
    for (const length of [100, 100_000, undefined, 5]) {
      await handle.truncate(length);
      await disk.truncate(length);
      assert.equal((await disk.stat()).size, (await handle.stat()).size);
    }
    await assert.rejects(disk.truncate(-1), { code: 'EINVAL', syscall: 'truncate' });
    await assert.rejects(disk.truncate(1.5), { code: 'EINVAL' });
  });
  await withBoth(ENGINES['ram'], (disk) =>
    assert.rejects(disk.truncate(5), {
      code: 'EINVAL',
      reason: 'a target of kind ram has a fixed size',
    }),
  );
});
