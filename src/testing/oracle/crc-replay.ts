import { assert } from '../../base/assert.ts';
import { hexTag } from '../../integrity/fault-text.ts';
import { finishGuard, updateGuard, updateInPlainCode } from '../../integrity/guards/guard.ts';
import { GuardState, swap16 } from '../../integrity/guards/guard-state.ts';
import type { Csum } from '../../integrity/integrity-profile.ts';
import { Arena } from '../../memory/arena.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import { bytesOfHex, patternBytes } from './case-data.ts';
import type { CrcCase } from './integrity-schema.ts';

export type CrcAnswer = Pick<CrcCase, 'crcT10Dif' | 'crc64Rocksoft' | 'ipChecksumLittleEndian'>;

/** The checksums of a recorded case, made on page frames and in plain code, which must be one. */
export class CrcReplay {
  readonly #arena = new Arena({ label: 'oracle checksums', places: false });

  run(one: CrcCase): CrcAnswer {
    const bytes = one.hex === null ? patternBytes(one.fill, one.length) : bytesOfHex(one.hex);
    const ip = this.#guard('ip', bytes);
    return {
      crcT10Dif: this.#guard('crc16', bytes).low,
      crc64Rocksoft: `0x${hexOf(this.#guard('crc64', bytes))}`,
      ipChecksumLittleEndian: swap16(ip.low),
    };
  }

  #guard(csum: Csum, bytes: Uint8Array): GuardState {
    const plain = new GuardState();
    updateInPlainCode(csum, plain, bytes, 0, bytes.length);
    finishGuard(csum, plain);
    const state = new GuardState();
    using buffer = this.#arena.alloc(Math.max(bytes.length, 1));
    buffer.bytes.set(bytes);
    updateGuard(csum, state, regionOf(buffer.page), byteAt(buffer.page, 0), bytes.length);
    finishGuard(csum, state);
    assert(hexOf(state) === hexOf(plain), 'checksum: the kernels and the plain code differ');
    return state;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

function hexOf(state: GuardState): string {
  return hexTag(state.high, state.low, 64);
}
