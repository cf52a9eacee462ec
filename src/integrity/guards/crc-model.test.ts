import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelCrc16, modelCrc64 } from '../pi-model.fuzz.ts';
import {
  CRC16_T10,
  CRC64_NVME,
  foldTable,
  LANES,
  SLICES,
  sliceTable,
  type Words,
} from './crc-model.ts';

function stateAt({ low, high }: Words, at: number): bigint {
  const [lower, upper] = [low[at] as number, high[at] as number];
  return (BigInt(upper >>> 0) << 32n) | BigInt(lower >>> 0);
}

/** What a byte and zeros leave, without start value and complement. */
function bare(bits: 16 | 64, bytes: Uint8Array): bigint {
  if (bits === 16) return BigInt(modelCrc16(bytes));
  const zeros = new Uint8Array(bytes.length);
  return modelCrc64(bytes) ^ modelCrc64(zeros); // Linear: what both have in common goes.
}

for (const model of [CRC16_T10, CRC64_NVME]) {
  test(`slice tables of ${model.bits} bits: a byte and the zeros behind it`, () => {
    const table = sliceTable(model);
    assert.equal(table.low.length, SLICES * 256);
    for (let slice = 0; slice < SLICES; slice++) {
      for (const byte of [0, 1, 0x80, 0xa5, 0xff]) {
        const message = new Uint8Array(slice + 1);
        message[0] = byte;
        assert.equal(stateAt(table, slice * 256 + byte), bare(model.bits, message));
      }
    }
  });

  test(`fold of ${model.bits} bits: a block and the folded block leave the same`, () => {
    const table = foldTable(model);
    const rows = model.bits / 8;
    const blockBytes = rows * LANES;
    for (let trial = 0; trial < 64; trial++) {
      const block = Uint8Array.from({ length: blockBytes }, (_, i) => (i * 37 + trial * 91) & 0xff);
      const folded = new Uint8Array(blockBytes);
      for (let from = 0; from < rows; from++) {
        for (let lane = 0; lane < LANES; lane++) {
          const byte = block[from * LANES + lane] as number;
          for (let to = 0; to < rows; to++) {
            const low = table[((from * 2 + 0) * rows + to) * 16 + (byte & 15)] as number;
            const high = table[((from * 2 + 1) * rows + to) * 16 + (byte >> 4)] as number;
            folded[to * LANES + lane] ^= low ^ high;
          }
        }
      }
      const further = Uint8Array.of(...block, ...new Uint8Array(blockBytes));
      assert.equal(bare(model.bits, folded), bare(model.bits, further));
    }
  });
}

test('a check whose lanes do not span its states is refused', () => {
  // x^16 + 1: shifting by 16 bytes changes nothing, so two rows leave the same.
  const weak = { bits: 16, polynomial: 1n, isReflected: false } as const;
  assert.throws(() => foldTable(weak), /two lanes leave the same state/);
});
