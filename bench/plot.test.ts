import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plotSvg } from './plot.ts';
import { axisOf, tickText } from './plot-axis.ts';

const UNIT = { isLog: false, from: 0, to: 100 };
const LOG = { isLog: true, from: 0, to: 100 };

test('Linear ticks are 1, 2 or 5 times a power of ten and enclose the values', () => {
  assert.deepEqual(axisOf([3, 17], UNIT).ticks, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
  assert.deepEqual(axisOf([0, 0.3], UNIT).ticks, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
  const one = axisOf([7], UNIT).ticks;
  assert.ok((one[0] ?? 7) < 7 && (one[one.length - 1] ?? 7) > 7, 'one value stands inside');
  assert.ok(axisOf([0], UNIT).ticks.length >= 2);
});

test('A linear axis puts its first tick at the start, its last at the end', () => {
  const axis = axisOf([2, 18], UNIT);
  assert.equal(axis.at(2), 0);
  assert.equal(axis.at(18), 100);
  assert.equal(axis.at(10), 50);
});

test('A logarithmic axis gives every decade the same room and shows nothing at or below 0', () => {
  const axis = axisOf([1, 10_000, 0, -3], LOG);
  assert.deepEqual(axis.ticks, [1, 10, 100, 1000, 10_000]);
  assert.deepEqual(
    [1, 10, 100, 1000].map((value) => Math.round(axis.at(value))),
    [0, 25, 50, 75],
  );
  assert.ok(Number.isNaN(axis.at(0)) && Number.isNaN(axis.at(-3)));
  assert.deepEqual(axisOf([3, 40], LOG).ticks, [2, 5, 10, 20, 50]);
  assert.deepEqual(axisOf([5], LOG).ticks, [2, 5], 'one value is an end');
});

test('An axis of any range has 2 to 14 ticks and holds its values', () => {
  for (const isLog of [false, true]) {
    for (let low = -9; low < 9; low++) {
      for (let size = 0; size < 14; size++) {
        const { ticks, at } = axisOf([10 ** low, 10 ** low + 10 ** (low + size)], {
          ...UNIT,
          isLog,
        });
        assert.ok(ticks.length >= 2 && ticks.length <= 14, `${low} ${size}: ${ticks.length}`);
        assert.ok(at(10 ** low) >= -1e-6 && at(10 ** low + 10 ** (low + size)) <= 100 + 1e-6);
      }
    }
  }
});

test('A tick is written as people write it', () => {
  assert.deepEqual([0, 0.25, 1500, 2e9, 1e-6].map(tickText), ['0', '0.25', '1,500', '2e9', '1e-6']);
});

const BASE = { title: 'T', xLabel: 'depth', yLabel: 'I/O/s' };

/** Opening and closing tags match and no `<` or `&` stands free: what a reader of XML asks for. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name = '', self] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (close === '/') assert.equal(open.pop(), name);
    else if (self !== '/') open.push(name);
  }
  assert.deepEqual(open, []);
  assert.doesNotMatch(svg.replace(/<\/?[a-z][^<>]*>/g, ''), /[<>]|&(?!(amp|lt|gt|quot|apos);)/);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
}

test('A line chart has a path and a dot per point for each series, labels, legend', () => {
  const points = [
    [1, 10],
    [2, 20],
    [4, 40],
  ] as const;
  const svg = plotSvg({
    ...BASE,
    series: [
      { name: 'ours', points },
      { name: 'fio', points },
    ],
  });
  assertWellFormed(svg);
  assert.equal(svg.match(/<circle/g)?.length, 6);
  assert.equal(svg.match(/stroke-width="2"/g)?.length, 2);
  for (const word of ['>T<', '>depth<', '>I/O/s<', '>ours<', '>fio<']) {
    assert.ok(svg.includes(word), word);
  }
});

test('Ticks that are given stand in their places, with their names', () => {
  const points = [
    [512, 1],
    [8192, 2],
    [131072, 3],
  ] as const;
  const xTicks = [
    [512, '512 B'],
    [8192, '8 KiB'],
    [131072, '128 KiB'],
  ] as const;
  const svg = plotSvg({ ...BASE, logX: true, xTicks, series: [{ name: 'a', points }] });
  assertWellFormed(svg);
  const dots = [...svg.matchAll(/<circle cx="([\d.]+)"/g)].map(([, x]) => Number(x));
  const [first = 0, second = 0, third = 0] = dots;
  assert.ok(Math.abs(second - (first + third) / 2) < 0.2, '16 times and 16 times: half way');
  for (const [i, [, name]] of xTicks.entries()) {
    assert.match(svg, new RegExp(`<text x="${dots[i]}" [^>]*>${name}<`));
  }
});

test('A long legend has two columns, and every line a place of its own', () => {
  const series = Array.from({ length: 9 }, (_, i) => ({
    name: `s${i}`,
    points: [[1, i]] as const,
  }));
  const svg = plotSvg({ ...BASE, series });
  const places = [...svg.matchAll(/<text x="([\d.]+)" y="([\d.]+)" >s\d</g)].map(
    ([, x, y]) => `${x} ${y}`,
  );
  assert.equal(new Set(places).size, 9);
  assert.equal(new Set(places.map((place) => place.split(' ')[0])).size, 2);
  const [, height = ''] = /viewBox="0 0 960 ([\d.]+)"/.exec(svg) ?? [];
  for (const place of places) assert.ok(Number(place.split(' ')[1]) < Number(height));
});

test('What an axis cannot show interrupts the line and leaves no trace', () => {
  const points = [
    [1, 10],
    [2, 0],
    [3, 30],
    [4, 40],
    [5, Number.NaN],
  ] as const;
  const svg = plotSvg({ ...BASE, logY: true, series: [{ name: 'a', points }] });
  assertWellFormed(svg);
  const [, path = ''] = /d="([^"]*)" fill="none" stroke-width="2"/.exec(svg) ?? [];
  assert.equal(path.replace(/[^ML]/g, ''), 'MML');
  assert.equal(svg.match(/<circle/g)?.length, 3);
});

test('Bars stand on 0, side by side within their slot, with whiskers and names', () => {
  const svg = plotSvg({
    ...BASE,
    kind: 'bar',
    xNames: ['first', 'second'],
    yLine: 1,
    series: [
      {
        name: 'a',
        points: [
          [0, 2],
          [1, 4],
        ],
        spans: [
          [1, 3],
          [3, 5],
        ],
      },
      {
        name: 'b',
        points: [
          [0, 1],
          [1, 2],
        ],
      },
    ],
  });
  assertWellFormed(svg);
  const bar = /<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g;
  const bars = [...svg.matchAll(bar)].map((match) => match.slice(1).map(Number));
  assert.equal(bars.length, 4);
  // Lengths are proportional to the values, and all feet stand on one line.
  const [a0 = [], a1 = [], b0 = [], b1 = []] = bars;
  const [, , , unit = 0] = b0;
  for (const [[, y = 0, , height = 0], value] of [
    [a0, 2],
    [a1, 4],
    [b0, 1],
    [b1, 2],
  ] as const) {
    assert.ok(Math.abs(height - unit * value) < 0.5, `height of ${value}`);
    assert.ok(Math.abs(y + height - 460) < 0.5, 'foot');
  }
  assert.ok((b0[0] ?? 0) >= (a0[0] ?? 0) + (a0[2] ?? 0) - 0.2, 'b beside a');
  assert.ok((a1[0] ?? 0) >= (b0[0] ?? 0) + (b0[2] ?? 0), 'the next group behind');
  assert.equal(svg.match(/h8M/g)?.length, 2, 'a whisker per bar of a');
  assert.ok(svg.includes('>first<') && svg.includes('>second<'));
  assert.equal(svg.match(/stroke-dasharray="4 4"/g)?.length, 1, 'target line');
});

test('Text of people is escaped: markup and control characters stay text', () => {
  const name = '<script>"&\u0000\'';
  const svg = plotSvg({ ...BASE, title: name, series: [{ name, points: [[1, 1]] }] });
  assertWellFormed(svg);
  assert.ok(svg.includes('&lt;script&gt;&quot;&amp; &apos;'));
});

test('No series, a series without points, one point and ten series are charts too', () => {
  const many = Array.from({ length: 10 }, (_, i) => ({ name: `s${i}`, points: [[1, i]] as const }));
  for (const series of [[], [{ name: 'none', points: [] }], many.slice(0, 1), many]) {
    for (const kind of ['line', 'bar'] as const) {
      for (const log of [false, true]) {
        assertWellFormed(plotSvg({ ...BASE, kind, logX: log, logY: log, series }));
      }
    }
  }
  const strokes = plotSvg({ ...BASE, series: many }).matchAll(/stroke-width="4" (stroke=[^/]*)/g);
  assert.equal(new Set([...strokes].map(([, style]) => style)).size, 10, 'no two look the same');
});
