import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../memory/arena.ts';
import type { Region } from '../../memory/region.unsafe.ts';
import { regionOf } from '../../memory/region.unsafe.ts';
import type { Csum } from '../integrity-profile.ts';
import { modelGuard } from '../pi-model.fuzz.ts';
import { finishGuard, updateGuard, updateInPlainCode } from './guard.ts';
import { GuardState } from './guard-state.ts';

const bytesOf = (length: number, at: (i: number) => number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => at(i));
const joined = (...parts: Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** Every row of the table of known answers in reference 7.2: input, CRC16, CRC64, IP. */
const TABLE: readonly (readonly [string, Uint8Array, string, string, string])[] = [
  ['123456789', new TextEncoder().encode('123456789'), 'D0DB', 'AE8B14860A799888', 'F62A'],
  ['32 × 00', bytesOf(32, () => 0), '0000', 'CF3473434D4ECF3B', 'FFFF'],
  ['32 × FF', bytesOf(32, () => 255), 'A293', 'A0A06974C34D63C4', '0000'],
  ['00..1F', bytesOf(32, (i) => i), '0224', 'B9D9D4A8492CBD7F', '0EFF'],
  ['FF..E0', bytesOf(32, (i) => 255 - i), 'A0B7', 'D64DCE9FC72F1180', 'F100'],
  ['FF FF 00×30', bytesOf(32, (i) => (i < 2 ? 255 : 0)), '21B8', 'AD2C11CF4EC5AC98', '0000'],
  ['512 × 00', bytesOf(512, () => 0), '0000', '1DE60E2868A782E9', 'FFFF'],
  ['512 × FF', bytesOf(512, () => 255), 'E6A1', '5277682DDAEB44B6', '0000'],
  ['512 × A5', bytesOf(512, () => 0xa5), '9EC6', '489C3FDBD283F79A', '5A5A'],
  ['512 counting', bytesOf(512, (i) => i), '4F10', '65F48632094A1B07', '7F80'],
  ['4096 × 00', bytesOf(4096, () => 0), '0000', '6482D367EB22B64E', 'FFFF'],
  ['4096 × FF', bytesOf(4096, () => 255), '8B5D', 'C0DDBA7302ECA3AC', '0000'],
  ['4096 up', bytesOf(4096, (i) => i), '8F6D', '3E729F5F6750449C', 'FC03'],
  ['4096 down', bytesOf(4096, (i) => 255 - i), '0430', '9A2DF64B8E9E517E', '03FC'],
  [
    '512 counting, then 8 × EE',
    joined(
      bytesOf(512, (i) => i),
      bytesOf(8, () => 0xee),
    ),
    '71FE',
    '1CBA9901945F0664',
    'C3C4',
  ],
];
const COLUMNS = ['crc16', 'crc64', 'ip'] as const;

function hexOf(csum: Csum, state: GuardState): string {
  const low = (state.low >>> 0).toString(16).padStart(8, '0');
  const high = (state.high >>> 0).toString(16).padStart(8, '0');
  return (csum === 'crc64' ? `${high}${low}` : low.slice(4)).toUpperCase();
}

/** The guard of `bytes` in `region` at `at`, in pieces of `pieceBytes`. */
function guardIn(
  csum: Csum,
  region: Region,
  at: number,
  bytes: number,
  pieceBytes: number,
): string {
  const state = new GuardState();
  for (let done = 0; done < bytes; done += pieceBytes) {
    updateGuard(csum, state, region, at + done, Math.min(pieceBytes, bytes - done));
  }
  finishGuard(csum, state);
  return hexOf(csum, state);
}

for (const [name, bytes, ...answers] of TABLE) {
  test(`known answers: ${name}`, () => {
    using arena = new Arena({ maxBytes: 2 ** 20 });
    using buffer = arena.alloc(16384);
    const shared = new SharedArrayBuffer(16384);
    using adopted = arena.adopt(shared);
    for (const [column, csum] of COLUMNS.entries()) {
      const answer = answers[column] as string;
      const model = [...modelGuard(csum, bytes)];
      const modelHex = model.map((byte) => byte.toString(16).padStart(2, '0')).join('');
      assert.equal(modelHex.toUpperCase(), answer, `${csum}: the model`);
      const plain = new GuardState();
      updateInPlainCode(csum, plain, bytes, 0, bytes.length);
      finishGuard(csum, plain);
      assert.equal(hexOf(csum, plain), answer, `${csum}: plain code`);
      for (const at of [0, 1, 7, 4095]) {
        buffer.bytes.set(bytes, at);
        adopted.bytes.set(bytes, at);
        for (const piece of [bytes.length, 1, 3, 64, 255]) {
          const region = regionOf(buffer.page);
          const frame = (buffer.page - region.firstPage) * 4096;
          assert.equal(guardIn(csum, region, frame + at, bytes.length, piece), answer);
          const plainRegion = regionOf(adopted.page);
          assert.equal(guardIn(csum, plainRegion, at, bytes.length, piece), answer);
        }
      }
    }
  });
}
