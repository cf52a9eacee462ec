import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockError } from './block-error.ts';
import { RUNS } from './runs.fuzz.ts';
import {
  formatSize,
  isPowerOfTwo,
  offsetIn,
  PAGE_BYTES,
  pagesSpanned,
  parseSize,
  roundDown,
  roundUp,
  sector,
} from './units.ts';

test('pagesSpanned counts the pages of every byte', () => {
  fc.assert(
    fc.property(fc.nat(20_000), fc.nat(20_000), (offset, bytes) => {
      const pages = new Set<number>();
      for (let at = offset; at < offset + bytes; at++) pages.add(Math.floor(at / 4096));
      assert.equal(pagesSpanned(offset, bytes), pages.size);
    }),
    { numRuns: RUNS.numRuns },
  );
});

/** Around every power of two that a double counts exactly. */
const largeArb = fc
  .record({ power: fc.nat(52), less: fc.integer({ min: -5000, max: 5000 }) })
  .map(({ power, less }) => Math.min(Math.max(2 ** power + less, 0), 2 ** 52));

test('pages and offsets beyond 31 and 32 bits', () => {
  fc.assert(
    fc.property(largeArb, largeArb, fc.nat(31), (offset, bytes, power) => {
      const last = BigInt(offset) + BigInt(bytes) - 1n;
      const page = BigInt(PAGE_BYTES);
      const pages = bytes === 0 ? 0n : last / page - BigInt(offset) / page + 1n;
      assert.equal(pagesSpanned(offset, bytes), Number(pages));
      assert.equal(offsetIn(offset, 2 ** power), Number(BigInt(offset) % 2n ** BigInt(power)));
    }),
    RUNS,
  );
  assert.equal(pagesSpanned(4095, 2 ** 32), 2 ** 20 + 1);
  assert.equal(pagesSpanned(0, 2 ** 32 + PAGE_BYTES), 2 ** 20 + 1);
});

test('roundUp and roundDown are the nearest multiples, beyond 32 bits too', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31 - 1), fc.integer({ min: 1, max: 2 ** 20 }), (value, unit) => {
      const large = value * 2 ** 20;
      for (const x of [value, large]) {
        const down = roundDown(x, unit);
        const up = roundUp(x, unit);
        assert.ok(down % unit === 0 && down <= x && x - down < unit);
        assert.ok(up % unit === 0 && up >= x && up - x < unit);
      }
    }),
    RUNS,
  );
});

test('powers of two', () => {
  const powers = new Set(Array.from({ length: 53 }, (_, k) => 2 ** k));
  for (const power of powers) assert.ok(isPowerOfTwo(power), String(power));
  for (const other of [0, -1, -2, 3, 6, 4095, 4097, 2 ** 31 - 1, 2 ** 40 + 512]) {
    assert.ok(!isPowerOfTwo(other), String(other));
  }
});

test('a sector is a safe non-negative integer', () => {
  assert.equal(sector(2 ** 53 - 1), 2 ** 53 - 1);
  for (const bad of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => sector(bad), /sector/);
});

test('sizes as people write them', () => {
  const sizes: Record<string, number> = {
    4096: 4096,
    '64K': 65536,
    '64kb': 65536,
    '64KiB': 65536,
    '1.5M': 1572864,
    '1G': 1073741824,
    ' 2 TiB ': 2199023255552,
    '0': 0,
  };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text);
});

test('what is no size is EINVAL and names the text', () => {
  for (const text of [
    '',
    'x',
    '-1',
    '1X',
    '1.5',
    '0.3K',
    '9007199254740992',
    '8E',
    '1e3',
    '0x10',
  ]) {
    assert.throws(
      () => parseSize(text),
      (error) =>
        error instanceof BlockError && error.code === 'EINVAL' && error.reason.includes(text),
      text,
    );
  }
});

test('formatSize and parseSize meet', () => {
  assert.equal(formatSize(0), '0 B');
  assert.equal(formatSize(1536), '1.5 KiB');
  assert.equal(formatSize(300 * 2 ** 20 + 1), '300 MiB');
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => {
      const back = Number.parseFloat(formatSize(bytes));
      const unit = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(
        formatSize(bytes).split(' ')[1] ?? '',
      );
      const scale = 1024 ** unit;
      assert.ok(Math.abs(back * scale - bytes) <= bytes * 0.05, formatSize(bytes));
    }),
    RUNS,
  );
});
