import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { DEFAULT_LIMITS, LIMIT_NAMES } from './limits.ts';
import { PRESET_NAMES, parseLimitsFile, presetLimits } from './presets.ts';
import { fromEffective } from './validate.ts';

test('the presets are there and valid', () => {
  assert.deepEqual(PRESET_NAMES, ['nvme', 'virtio', 'sata', '4kn', 'file', 'unlimited']);
  for (const name of PRESET_NAMES) {
    assert.deepEqual(fromEffective(presetLimits(name)), presetLimits(name), name);
  }
});

test('nvme, virtio and sata have the limits that the oracle recorded of such devices', () => {
  const nvme = presetLimits('nvme'); // `nvm1` on 6.12.
  assert.equal(nvme.max_hw_sectors, 1024);
  assert.equal(nvme.max_sectors, 1024);
  assert.equal(nvme.max_segments, 128);
  assert.equal(nvme.max_segment_size, 4294967295);
  assert.equal(nvme.virt_boundary_mask, 4095);
  assert.equal(nvme.dma_alignment, 3);
  assert.equal(nvme.max_integrity_segments, 1);
  const virtio = presetLimits('virtio'); // `vb256`.
  assert.equal(virtio.max_hw_sectors, 4294967295);
  assert.equal(virtio.max_segments, 254);
  assert.equal(virtio.max_segment_size, 4294967295);
  assert.equal(virtio.dma_alignment, 511);
  const sata = presetLimits('sata'); // `ahci` on 6.12.
  assert.equal(sata.max_hw_sectors, 65535);
  assert.equal(sata.max_segments, 168);
  assert.equal(sata.max_segment_size, 65536);
  assert.equal(sata.dma_alignment, 511);
});

test('4kn rounds its hard limit to its block', () => {
  const limits = presetLimits('4kn');
  assert.equal(limits.logical_block_size, 4096);
  assert.equal(limits.max_hw_sectors, 65528);
  assert.equal(limits.max_segments, presetLimits('sata').max_segments);
});

test('unlimited: no soft cap, any address', () => {
  const limits = presetLimits('unlimited');
  assert.equal(limits.max_sectors, 2 ** 32 - 1);
  assert.equal(limits.dma_alignment, 0);
  assert.equal(limits.seg_boundary_mask, Number.MAX_SAFE_INTEGER);
});

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert(error instanceof BlockError);
    assert.equal(error.code, 'EINVAL');
    return error.reason;
  }
  return assert.fail('accepted');
}

test('an unknown preset lists the names', () => {
  const names = 'nvme, virtio, sata, 4kn, file, unlimited';
  for (const name of ['floppy', '', 'toString']) {
    const reason = reasonOf(() => presetLimits(name));
    assert.equal(reason, `limits preset '${name}' is none of ${names}`);
  }
});

test('a limits file gives validated limits; a max_sectors in it counts', () => {
  const limits = parseLimitsFile(`{
    "logical_block_size": 4096, "max_hw_sectors": 100, "max_sectors": 20, "max_segments": 4,
    "seg_boundary_mask": 18446744073709551615, "write_cache": true
  }`);
  assert.equal(limits.physical_block_size, 4096);
  assert.equal(limits.max_hw_sectors, 96);
  assert.equal(limits.max_sectors, 16);
  assert.equal(limits.max_segments, 4);
  assert.equal(limits.seg_boundary_mask, Number.MAX_SAFE_INTEGER);
  assert.equal(limits.write_cache, true);
  assert.deepEqual(parseLimitsFile('{}'), DEFAULT_LIMITS);
  assert.deepEqual(parseLimitsFile(JSON.stringify(DEFAULT_LIMITS)), DEFAULT_LIMITS);
});

test('an unknown key names the nearest limit', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['max_segment', 'max_segments'],
    ['max_sectors_kb', 'max_sectors'],
    ['MAX_SEGMENTS', 'max_segments'],
    ['segment_boundary_mask', 'seg_boundary_mask'],
    ['virtBoundaryMask', 'virt_boundary_mask'],
    ['chunk', 'chunk_sectors'],
    ['__proto__', ''],
  ];
  for (const [key, nearest] of rows) {
    const reason = reasonOf(() => parseLimitsFile(`{"${key}": 1}`));
    const expected = `limits file: '${key}' is no limit; the nearest is '${nearest}'`;
    if (nearest !== '') assert.equal(reason, expected);
    else assert(reason.startsWith(`limits file: '${key}' is no limit`), reason);
  }
  for (const name of LIMIT_NAMES) {
    const reason = reasonOf(() => parseLimitsFile(`{"${name}x": 1}`));
    assert(reason.endsWith(`the nearest is '${name}'`), reason);
  }
});

test('a file that is no object of numbers is refused with a sentence', () => {
  for (const json of ['[]', 'null', '3', '"nvme"']) {
    const reason = reasonOf(() => parseLimitsFile(json));
    assert.equal(reason, 'a limits file must hold one JSON object, like { "max_segments": 4 }');
  }
  assert(reasonOf(() => parseLimitsFile('{')).startsWith('a limits file must be JSON: '));
  assert.equal(
    reasonOf(() => parseLimitsFile('{"max_segments": "4"}')),
    'max_segments is 4, but must be a number',
  );
});
