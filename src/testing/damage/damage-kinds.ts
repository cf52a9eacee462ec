import type { BlockCopy } from '../../integrity/injector.ts';
import { hasRefTag } from '../../integrity/integrity-profile.ts';
import type { SeededRandom } from '../simulator/seeded-random.ts';
import { fillRandom, type ProtectedBlocks } from './protected-blocks.ts';

/** What a disk or its cable does to a block; each has changed at least one bit. */
export interface DamageKind {
  readonly name: string;
  /**
   * How a guard of 16 bits fares: 'all' is found by its polynomial, 'chance' is missed once in
   * 2^16, as the ref tag is right; 'ref' is for the ref tag to find.
   */
  readonly guard16: 'all' | 'chance' | 'ref';
  /** Its neighbour is damaged, too. */
  readonly isPair: boolean;
  /** Damages `block`. False: by chance nothing changed. */
  inject(blocks: ProtectedBlocks, block: number, random: SeededRandom): boolean;
}

const GUARD16_BITS = 16;
/** A burst of 17 bits passes CRC16 twice as often as longer ones: it may be the polynomial. */
const BURST_LONG_BITS = GUARD16_BITS + 2;
const BURST_BITS_MAX = 64;
/** Bits that a 32-bit ref tag cannot see, of the 48 that one of 16 bytes has. */
const FAR_BLOCKS = 2 ** 32;
const FAR_MOST = 2 ** 16 - 1;

export const DAMAGE_KINDS: readonly DamageKind[] = [
  kind('burst of 1 to 16 bits in data', 'all', (blocks, block, random) =>
    burst(blocks, block, random.between(1, GUARD16_BITS), random),
  ),
  kind('burst of 18 to 64 bits in data', 'chance', (blocks, block, random) =>
    burst(blocks, block, random.between(BURST_LONG_BITS, BURST_BITS_MAX), random),
  ),
  kind('burst of up to a block in data', 'chance', (blocks, block, random) => {
    const bits = blocks.injector.partBytes('data') * 8;
    return burst(blocks, block, random.between(BURST_LONG_BITS, bits), random);
  }),
  kind('burst in the guard', 'all', (blocks, block, random) =>
    flipTag(blocks, block, 'guard', random),
  ),
  kind('burst in the ref tag', 'ref', (blocks, block, random) =>
    flipTag(blocks, block, 'ref', random),
  ),
  kind('other data under the record', 'chance', (blocks, block, random) => {
    const data = new Uint8Array(blocks.now[block].data.length);
    fillRandom(data, random);
    blocks.injector.put(block, { data, record: blocks.now[block].record });
    return true;
  }),
  kind('old record with new data', 'chance', (blocks, block) => {
    blocks.injector.put(block, blocks.before[block], 'record');
    return !isEqual(blocks.before[block].record, blocks.now[block].record);
  }),
  kind('torn data', 'chance', (blocks, block, random) => {
    const { data } = blocks.now[block];
    const old = blocks.before[block].data;
    const cut = random.between(1, data.length - 1);
    const torn = Uint8Array.from(data, (byte, i) => (i < cut ? byte : (old[i] as number)));
    blocks.injector.put(block, { data: torn, record: blocks.now[block].record });
    return !isEqual(torn, data);
  }),
  kind('torn record', 'chance', (blocks, block, random) => {
    const { injector, before, now, profile } = blocks;
    const guardEnd = profile.pi_offset + injector.partBytes('guard');
    injector.put(block, before[block], 'record');
    injector.tearRecord(block, now[block], random.between(1, guardEnd - 1));
    // Bytes behind the tuple are under no check.
    const tupleEnd = profile.pi_offset + profile.tuple_size;
    const torn = injector.copyOf(block).record.subarray(0, tupleEnd);
    return !isEqual(torn, now[block].record.subarray(0, tupleEnd));
  }),
  kind('swapped data', 'chance', (blocks, block) => {
    const other = neighbour(blocks, block);
    blocks.injector.put(block, blocks.now[other], 'data');
    blocks.injector.put(other, blocks.now[block], 'data');
    return true;
  }),
  kind('swapped blocks', 'ref', (blocks, block) => {
    blocks.injector.swap(block, neighbour(blocks, block));
    return true;
  }),
  kind('misdirected write', 'ref', (blocks, block, random) => {
    const distance = random.between(1, 2 ** 31) * (random.chance(0.5) ? 1 : -1);
    return arrive(blocks, block, distance);
  }),
  kind('misdirected write, n × 2^32 blocks apart', 'ref', (blocks, block, random) =>
    arrive(blocks, block, random.between(1, FAR_MOST) * FAR_BLOCKS),
  ),
];

/** The block that a kind may damage beside its own. */
export function neighbour(blocks: ProtectedBlocks, block: number): number {
  return block + 1 < blocks.count ? block + 1 : block - 1;
}

function kind(
  name: string,
  guard16: DamageKind['guard16'],
  inject: DamageKind['inject'],
): DamageKind {
  return { name, guard16, isPair: name.startsWith('swapped'), inject };
}

function burst(
  blocks: ProtectedBlocks,
  block: number,
  bits: number,
  random: SeededRandom,
): boolean {
  const start = random.below(blocks.injector.partBytes('data') * 8 - bits + 1);
  blocks.injector.xor(block, 'data', Math.floor(start / 8), burstMask(start % 8, bits, random));
  return true;
}

/** First and last bit are turned over, those between at random. */
function burstMask(skip: number, bits: number, random: SeededRandom): Uint8Array {
  const mask = new Uint8Array(Math.ceil((skip + bits) / 8));
  for (let i = 0; i < mask.length; i++) mask[i] = random.below(256);
  mask[0] &= (0xff << skip) & 0xff;
  const last = (skip + bits - 1) % 8;
  mask[mask.length - 1] &= 0xff >> (7 - last);
  mask[0] |= 1 << skip;
  mask[mask.length - 1] |= 1 << last;
  return mask;
}

function flipTag(
  blocks: ProtectedBlocks,
  block: number,
  part: 'guard' | 'ref',
  random: SeededRandom,
): boolean {
  if (part === 'ref' && !hasRefTag(blocks.profile)) return false;
  const bits = random.between(1, blocks.injector.partBytes(part) * 8);
  const start = random.below(blocks.injector.partBytes(part) * 8 - bits + 1);
  blocks.injector.xor(block, part, Math.floor(start / 8), burstMask(start % 8, bits, random));
  return true;
}

function arrive(blocks: ProtectedBlocks, block: number, distance: number): boolean {
  const written: BlockCopy = blocks.writtenFor(block, distance);
  blocks.injector.put(block, written);
  return true;
}

function isEqual(left: Uint8Array, right: Uint8Array): boolean {
  return left.every((byte, i) => byte === right[i]);
}
