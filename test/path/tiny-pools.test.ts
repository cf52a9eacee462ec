import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Outcome, PathRig, type RigOptions, randomOf } from './path-rig.ts';

// However small the pools are, an empty one is back-pressure: everybody gets on in the end.

const POOLS: Readonly<Record<string, RigOptions>> = {
  'no bios beside the reserve': { bios: 0 },
  'one bio': { bios: 1 },
  'no split fronts beside the reserve': { splits: 0, limits: { max_hw_sectors: 8 } },
  'one of each, one tag': { bios: 1, splits: 1, depth: 1, limits: { max_hw_sectors: 8 } },
  'an engine with room for one': { room: 1, limits: { max_segments: 1 } },
};

describe('tiny pools', () => {
  for (const [name, options] of Object.entries(POOLS)) {
    test(`${name}: 60 transfers of every kind end with their bytes`, async () => {
      await using rig = new PathRig({ ...options, random: randomOf(3) });
      using buffer = rig.arena.alloc(60 * 1024);
      const { disk } = rig;
      const calls = Array.from({ length: 60 }, (_, i) => {
        const view =
          i % 3 === 0 ? new Uint8Array(1024) : buffer.bytes.subarray(i * 1024, (i + 1) * 1024);
        const position = i * 1024 + (i % 5 === 0 ? 7 : 0);
        if (i % 2 === 0) return disk.read(view, { position }).then(() => view);
        return disk.write(view.fill(i), { position: i * 1024 }).then(() => view);
      });
      const views = await Promise.all(calls);
      for (const [i, view] of views.entries()) {
        if (i % 2 === 1)
          assert.deepEqual(rig.medium(i * 1024, (i + 1) * 1024), new Uint8Array(view));
      }
    });
  }

  test('an arena without a free page: one after the other through the reserve', async () => {
    await using rig = new PathRig({ arenaBytes: 128 * 1024, random: randomOf(5) });
    const taken: number[] = [];
    for (let page = rig.arena.getFolio(0); page >= 0; page = rig.arena.getFolio(0))
      taken.push(page);
    const memory = Array.from({ length: 40 }, (_, i) => new Uint8Array(1500).fill(i + 1));
    await Promise.all(memory.map((view, i) => rig.disk.write(view, { position: i * 1500 })));
    const back = memory.map(() => new Uint8Array(1500));
    await Promise.all(back.map((view, i) => rig.disk.read(view, { position: i * 1500 })));
    assert.deepEqual(back, memory);
    const large = new Uint8Array(65536);
    assert.equal((await rig.disk.read(large, { position: 0 })).bytesRead, 65536);
    assert.deepEqual(large, rig.medium(0, 65536));
    assert.equal(rig.disk.stats().bouncePagesMost, 16);
    for (const page of taken) rig.arena.putFolio(page);
  });

  test('the reserve holds a block that is larger than any segment', async () => {
    const limits = { logical_block_size: 65536, max_segment_size: 4096, max_segments: 16 };
    await using rig = new PathRig({
      limits,
      sizeBytes: 2 * 65536,
      arenaBytes: 128 * 1024,
      random: randomOf(5),
    });
    const taken: number[] = [];
    for (let page = rig.arena.getFolio(0); page >= 0; page = rig.arena.getFolio(0))
      taken.push(page);
    for (const page of taken.splice(0, 3)) rig.arena.putFolio(page); // Less than a block is left.
    const memory = new Uint8Array(70000).fill(9);
    await Promise.all([rig.disk.write(memory, { position: 11 }), rig.disk.write('ab', 100000)]);
    assert.ok(rig.medium(11, 70011).every((byte) => byte === 9));
    for (const page of taken) rig.arena.putFolio(page);
  });

  test('H10: own pages are never more segments than the device takes', async () => {
    // Confirmed: with bounceOrder 0 (page by page, as upstream) the calls are EINVAL.
    const limits = { logical_block_size: 32768, max_segments: 1, max_segment_size: 65536 };
    await using rig = new PathRig({ limits, random: randomOf(5), arenaBytes: 512 * 1024 });
    const pages: number[] = [];
    for (let page = rig.arena.getFolio(0); page >= 0; page = rig.arena.getFolio(0))
      pages.push(page);
    for (let i = 0; i < pages.length; i += 2) rig.arena.putFolio(pages[i]);
    const memory = new Uint8Array(65536).fill(4);
    assert.equal((await rig.disk.write(memory, { position: 0 })).bytesWritten, 65536);
    assert.equal((await rig.disk.read(memory, { position: 5 })).bytesRead, 65531);
    for (let i = 1; i < pages.length; i += 2) rig.arena.putFolio(pages[i]);
  });

  test('thousands of transfers wait, in order, and nobody overtakes', async () => {
    await using rig = new PathRig({
      bios: 2,
      depth: 2,
      sizeBytes: 4096 * 512,
      random: randomOf(9),
    });
    using buffer = rig.arena.alloc(4096 * 512);
    const order: number[] = [];
    const calls = Array.from({ length: 4096 }, async (_, i) => {
      const view = buffer.bytes.subarray(i * 512, (i + 1) * 512);
      await rig.disk.write(view.fill(i), { position: i * 512 });
      order.push(i);
    });
    await Promise.all(calls);
    assert.deepEqual(rig.medium(0, 4096 * 512), new Uint8Array(buffer.bytes));
    assert.deepEqual(
      rig.engine.log.map(({ at }) => at),
      rig.engine.log.map(({ at }) => at).toSorted((a, b) => a - b),
    );
    assert.equal(order.length, 4096);
  });

  test('a large transfer is not starved by small ones that come later', async () => {
    // Room for four bios, but only two of them with 256 rows: small ones could go on for ever.
    await using rig = new PathRig({ bios: 2, limits: { max_segments: 256 } });
    using buffer = rig.arena.alloc(65536);
    const scattered = Array.from({ length: 200 }, (_, i) => {
      return buffer.bytes.subarray(i * 256, i * 256 + (i < 8 ? 16 : 2));
    });
    const large = [0, 1, 2].map((at) => new Outcome(rig.disk.writev(scattered, at * 512)));
    const small = Array.from({ length: 9 }, (_, i) => {
      return new Outcome(
        rig.disk.read(buffer.bytes.subarray(i * 512, (i + 1) * 512), 0, 512, 8192),
      );
    });
    await rig.settle();
    await rig.finish();
    const third = rig.engine.log.findIndex(({ at }) => at === 1024);
    const firstSmall = rig.engine.log.findIndex(({ at }) => at === 8192);
    assert.ok(third < firstSmall, `the third went out as number ${third}, a later one before it`);
    for (const { error } of [...large, ...small]) assert.equal(error, undefined);
  });
});
