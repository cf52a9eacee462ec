import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { type BioIntegrity, PayloadFlag, payloadOf } from '../../integrity/bio-integrity.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Request } from '../../queue/request.ts';

const APP_CHECK = 4;

/** A physically contiguous range of metadata. */
interface Range {
  readonly addr: number;
  readonly bytes: number;
}

/**
 * What is wrong with the metadata of `request`, as a sentence; null = a device could take it. Like
 * `checkRequest` it counts anew, from the rows, and shares no line with the merge rules.
 */
export function checkRequestMetadata(
  request: Request,
  limits: Limits,
  profile: IntegrityProfile,
): string | null {
  if (request.op !== BioOp.READ && request.op !== BioOp.WRITE) return null;
  const bios: Bio[] = [];
  for (let bio = request.bio; bio !== null; bio = bio.next) bios.push(bio);
  const payloads = bios.map(payloadOf);
  const [first = null] = payloads;
  if (payloads.some((payload) => (payload === null) !== (first === null))) {
    return 'some of its bios have metadata, and some have none';
  }
  if (first === null) return null;
  for (const [i, payload] of (payloads as BioIntegrity[]).entries()) {
    const why = checkPayload(bios[i] as Bio, payload, first, profile);
    if (why !== null) return why;
  }
  return checkSegments(payloads as BioIntegrity[], limits);
}

function checkPayload(
  bio: Bio,
  payload: BioIntegrity,
  first: BioIntegrity,
  profile: IntegrityProfile,
): string | null {
  const intervals = bio.size / 2 ** profile.interval_exp;
  if (!Number.isInteger(intervals)) return `a bio of ${bio.size} bytes ends inside an interval`;
  const bytes = intervals * profile.metadata_size;
  if (payload.size !== bytes)
    return `${payload.size} bytes of metadata go with ${bio.size} of data`;
  if ((payload.flags & PayloadFlag.BLOCK) !== (first.flags & PayloadFlag.BLOCK)) {
    return 'metadata of a program and of the block layer share a request';
  }
  if (payload.check !== first.check) return 'bios with different checks share a request';
  const isApp = (payload.check & APP_CHECK) !== 0;
  if (isApp && payload.appTag !== first.appTag)
    return 'bios with different app tags share a request';
  return null;
}

/** Ranges within a page, joined where they touch, as few as a controller could make of them. */
function checkSegments(payloads: readonly BioIntegrity[], limits: Limits): string | null {
  const boundary = limits.virt_boundary_mask + 1;
  let segments = 0;
  let before: Range | null = null;
  for (const payload of payloads) {
    const ranges = rangesOf(payload);
    const [head] = ranges;
    if (before !== null && head !== undefined) {
      const end = before.addr + before.bytes;
      const isGap = end % boundary !== 0 || head.addr % boundary !== 0;
      if (isGap) return `metadata has a joint off the virt_boundary of ${boundary}`;
    }
    segments += countSegments(ranges, limits);
    before = ranges.at(-1) ?? null;
  }
  const most = limits.max_integrity_segments;
  if (most === 0 || segments <= most) return null;
  return `its metadata has ${segments} segments, but max_integrity_segments is ${most}`;
}

function rangesOf(payload: BioIntegrity): Range[] {
  const ranges: Range[] = [];
  const { table } = payload;
  let skip = payload.done;
  let left = payload.size;
  for (let row = payload.row; left > 0 && row < table.rows; row++) {
    const addr = table.page[row] * 4096 + table.offset[row] + skip;
    const bytes = Math.min(table.len[row] - skip, left);
    if (!(bytes > 0)) break;
    ranges.push({ addr, bytes });
    left -= bytes;
    skip = 0;
  }
  return ranges;
}

/** Each as long as max_segment_size and its boundary window let it be. */
function countSegments(ranges: readonly Range[], limits: Limits): number {
  const window = limits.seg_boundary_mask + 1;
  let segments = 0;
  let end = -1;
  let room = 0;
  for (const { addr, bytes } of ranges) {
    if (addr !== end) room = 0;
    for (let at = addr; at < addr + bytes; ) {
      const toWindow = window - (at % window);
      if (room === 0 || at % window === 0) {
        segments++;
        room = Math.min(limits.max_segment_size, toWindow);
      }
      const step = Math.min(room, addr + bytes - at);
      room -= step;
      at += step;
    }
    end = addr + bytes;
  }
  return segments;
}
