/**
 * What a guard is after some of its bytes. The bytes may come in pieces of any length; a state goes
 * from one kernel to another. One object serves many guards.
 *
 * |       | low                                       | high                      |
 * |-------|-------------------------------------------|---------------------------|
 * | crc16 | the checksum so far                       | 0                         |
 * | crc64 | its lower 32 bits, signed                 | its upper 32 bits, signed |
 * | ip    | sum of little-endian words, carries in it | 1 after an odd byte       |
 *
 * Both are 32-bit integers, which are not boxed.
 */
export class GuardState {
  low = 0;
  high = 0;

  reset(): void {
    this.low = 0;
    this.high = 0;
  }
}

export function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

/** The sum with one more sum added: ones complement, so a carry comes back at the lower end. */
export function addOnes(sum: number, more: number): number {
  const total = sum + more;
  return (total & 0xffff) + (total >>> 16);
}

/**
 * Adds the sum of a piece of `bytes`. After an odd number of bytes the next piece stands at odd
 * places, where its words are swapped.
 */
export function addIpSum(state: GuardState, sum: number, bytes: number): void {
  state.low = addOnes(state.low, state.high === 0 ? sum : swap16(sum));
  state.high ^= bytes & 1;
}
