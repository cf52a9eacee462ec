import { IntegrityFlag } from '../../integrity/integrity-profile.ts';
import { presetLimits } from '../../limits/presets.ts';
import { engineSuite } from '../../testing/engine-suite.ts';
import { openNullEngine } from './null-engine.ts';
import { openRamEngine } from './ram-engine.ts';

const SIZE = 2 ** 21;
const CHECKING = IntegrityFlag.REF_TAG | IntegrityFlag.DEVICE_CAPABLE;
const defer = (callback: () => void): void => void setImmediate(callback);

engineSuite('ram', async () => ({ engine: openRamEngine({ sizeBytes: SIZE, defer }) }), {
  discardsToZero: true,
});

for (const preset of ['nvme', 'virtio', '4kn'] as const) {
  const limits = presetLimits(preset);
  engineSuite(
    `ram with the limits of ${preset}`,
    async () => ({ engine: openRamEngine({ sizeBytes: SIZE, depth: 3, limits, defer }) }),
    { discardsToZero: true },
  );
}

engineSuite(
  'ram of depth 1 without discard',
  async () => ({
    engine: openRamEngine({
      sizeBytes: SIZE + 512,
      depth: 1,
      limits: { max_hw_discard_sectors: 0, max_write_zeroes_sectors: 0 },
      defer,
    }),
  }),
  { discardsToZero: true },
);

engineSuite('null', async () => ({ engine: openNullEngine({ sizeBytes: SIZE, defer }) }), {
  keepsData: false,
  discardsToZero: true,
});

engineSuite(
  'null of 8 PiB',
  async () => ({ engine: openNullEngine({ sizeBytes: 2 ** 53 - 4096, depth: 2, defer }) }),
  { keepsData: false, discardsToZero: true },
);

for (const [name, integrity] of [
  ['crc16', { csum: 'crc16', flags: IntegrityFlag.REF_TAG }],
  ['crc64 in larger metadata', { csum: 'crc64', metadata_size: 40, pi_offset: 8 }],
  ['ip, checked by the device', { csum: 'ip', flags: CHECKING }],
  ['metadata without tuples', { csum: 'none', metadata_size: 16 }],
] as const) {
  engineSuite(
    `ram with ${name}`,
    async () => ({ engine: openRamEngine({ sizeBytes: SIZE, depth: 7, integrity, defer }) }),
    { discardsToZero: true, hasMetadata: true },
  );
}
