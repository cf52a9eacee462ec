import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import { DESIGNS } from './designs.ts';
import { SEGMENT_COUNTS } from './layouts.ts';
import { countDesign } from './measure.ts';
import { Touched } from './touched.ts';

test('Different bytes, their lines, all accesses, and one store for each entry', () => {
  const list = { offset: new Uint32Array(64), len: new Uint32Array(64), rows: 64 };
  const touched = new Touched();
  touched.watch(list);
  for (let row = 0; row < 20; row++) {
    list.offset[row] = 7;
    list.len[row] = row;
  }
  list.len[3] += 5;
  assert.deepEqual([list.offset[3], list.len[3], list.len.length], [7, 8, 64]);
  // 20 rows of 4 bytes are 80 bytes of each column: 2 lines. 40 stores, then 2 accesses to grow a
  // row, and 2 of the check above.
  assert.deepEqual(touched.figures(), { bytes: 160, lines: 4, traffic: 44 * 4, entries: 20 });
  touched.reset();
  assert.deepEqual(touched.figures(), { bytes: 0, lines: 0, traffic: 0, entries: 0 });
});

test('Of an owner without offsets the frames or the addresses are its entries', () => {
  const pages = { frames: new Uint32Array(4), other: new Uint8Array(4) };
  const touched = new Touched();
  touched.watch(pages, ['frames']);
  pages.frames[0] = 1;
  pages.frames[0] = 2;
  pages.other[0] = 3;
  assert.deepEqual(touched.figures(), { bytes: 4, lines: 1, traffic: 8, entries: 2 });
});

test('A bio that is an object counts its fields, and its pool takes it back', () => {
  const pool = new BioPool({ bios: 1, rows: 16 });
  const touched = new Touched();
  touched.watchBios(pool);
  for (let i = 0; i < 5; i++) {
    const bio = pool.acquire(BioOp.READ, 0, 1);
    assert.ok(bio !== null);
    touched.reset();
    bio.size = 4096;
    assert.equal(bio.size, 4096);
    assert.deepEqual(touched.figures(), { bytes: 8, lines: 1, traffic: 16, entries: 0 });
    pool.release(bio);
  }
  assert.equal(pool.busyCount, 0);
});

/** Forms of which every segment is an entry: ranges of a scatterlist stand in its own entries. */
function entriesOf(forms: readonly string[]): number {
  return forms.filter((form, i) => form !== 'ranges' || forms[i - 1] !== 'scatterlist').length;
}

test('A design writes each single page into as many lists as its forms say, and each alike', () => {
  for (const { name, forms } of DESIGNS) {
    const figures = countDesign(name, ['pages'], 1024);
    assert.deepEqual(
      figures.map(({ segments }) => segments),
      SEGMENT_COUNTS,
    );
    for (const { segments, ranges, lists, frames, bios, tables } of figures) {
      assert.equal(ranges, segments, name);
      assert.equal(lists.entries, segments * entriesOf(forms), name);
      assert.equal(bios, name === 'one-page-bios' ? segments : 1, name);
      assert.ok(frames.bytes >= segments * 12, `${name}: pins are counted somewhere`);
      assert.ok(tables <= 1 + 2 * Math.ceil(segments / 127), name);
      assert.ok(lists.bytes > 0 && lists.lines > 0 && lists.traffic >= lists.bytes, name);
    }
  }
});
