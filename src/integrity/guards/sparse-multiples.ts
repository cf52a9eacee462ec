// Multiples of the polynomials with few terms, all of them whole bytes apart: a long message is
// divided by one before its checksum is made of the remainder.
//
// A multiple with the terms 1 and x^(-8 * d) for each of its distances d says that a byte may be
// left out if it is XORed into those that come d bytes later. Left out from the first byte on, each
// after it has got what those before it gave, a message shrinks to the `span` bytes at its end:
//
//   q[i] = in[i] ^ q[i - d1] ^ ... ^ q[i - dt]   for each byte but the last `span`; no q before 0
//   r[i] = in[i] ^ those q[i - d] that exist     for the last ones: the message's checksum
//
// That is a load and an XOR for each distance and 16 bytes, at any alignment, without look-ups, and
// carry-less multiplication is not missed. `scripts/sparse-multiples.ts` finds such multiples.
//
// What makes a good one: few terms, each is a load (the loops do about three in a cycle); a short
// span, since the fold takes its bytes, which costs three to eight times as much; and no distance
// below about 112, because a load that covers parts of two stores waits until both have left the
// processor's store buffer.

/** Bytes, ascending. */
export type Distances = readonly number[];

/** The only pair from 112 to 600. Three distances go down to 204, and are slower at 1 KiB too. */
export const CRC16_DISTANCES: Distances = [338, 369];

/**
 * Of 2^64.5 sets of ten from 112 to 512, about one is a multiple. This one is 5 % faster than the
 * other that was found: two distances are whole vectors, whose loads never lie in two cache lines.
 * With nine the loops are faster and the fold slower; with twelve or more it is the other way
 * round, and the loads cost more than the fold saves.
 */
export const CRC64_DISTANCES: Distances = [112, 123, 145, 223, 239, 304, 308, 376, 502, 511];
