import { BlockError } from '../base/block-error.ts';
import { type IntegrityProfile, metadataBytesOf } from '../integrity/integrity-profile.ts';
import { deviceBlock } from '../integrity/remap.ts';
import { CheckFlag } from '../integrity/verify.ts';
import { IovIter, type IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import { sectorOf } from '../map/map-context.ts';
import type { MetadataWish } from '../map/metadata/meta-mapping.ts';
import type { BlockDevice } from './block-device.ts';
import type { CallPlace } from './io-arguments.ts';

/** What is checked on the way, each left out = not. Linux: IO_INTEGRITY_CHK_GUARD and its kind. */
export interface MetadataCheck {
  readonly guard?: boolean | undefined;
  readonly ref?: boolean | undefined;
  readonly app?: boolean | undefined;
  /** The app tag that `app` expects: 0 to 65535. */
  readonly appTag?: number | undefined;
}

/** Metadata of a read or write: with it, the library makes and checks no tuples of its own. */
export interface MetadataOptions {
  /** The records: `metadata_size` bytes for each interval of the data. */
  readonly metadata?: ArrayBufferView | undefined;
  /** Default: nothing. */
  readonly check?: MetadataCheck | undefined;
  /**
   * Ref tag of the first interval as the program counts, one more for each; on the device they are
   * those of its blocks. Default: as the device counts.
   */
  readonly seed?: number | undefined;
}

/** The range that a call names, before it is cut at the end of the device. */
export interface CallRange {
  readonly direction: IterDirection;
  readonly position: number;
  readonly bytes: number;
}

export function hasMetadata(options: MetadataOptions): boolean {
  return (
    options.metadata !== undefined || options.check !== undefined || options.seed !== undefined
  );
}

/** Throws BlockError EINVAL with a sentence. */
export function metadataWish(
  options: MetadataOptions,
  range: CallRange,
  device: BlockDevice,
  place: CallPlace,
): MetadataWish {
  const { metadata, check = {} } = options;
  const profile = device.engine.info.integrity;
  const where = { ...place, offset: range.position, length: range.bytes };
  const fail = (reason: string): never => {
    throw new BlockError('EINVAL', { reason, ...where });
  };
  if (profile === null) {
    return fail(`a target of kind ${device.engine.info.kind} keeps no metadata beside the data`);
  }
  if (metadata === undefined) return fail('check and seed belong to metadata, and there is none');
  if (typeof check !== 'object' || check === null) return fail('check must be an object');
  if (!ArrayBuffer.isView(metadata)) return fail('metadata must be a TypedArray or a DataView');
  const wrong = rangeFault(profile, range, metadata.byteLength, device.limits.logical_block_size);
  if (wrong !== null) return fail(wrong);
  const { seed = deviceBlock(sectorOf(range.position), profile) } = options;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    return fail(`seed is ${seed}, but must be a whole number from 0 to 2^53 - 1`);
  }
  const appTag = check.appTag ?? 0;
  if (!Number.isInteger(appTag) || appTag < 0 || appTag > 0xffff) {
    return fail(`appTag is ${appTag}, but must be a whole number from 0 to 65535`);
  }
  if (check.app === true && check.appTag === undefined) {
    return fail('check.app needs check.appTag, the tag that is expected');
  }
  const iovec = new Iovec(1);
  const { buffer, byteOffset, byteLength } = metadata;
  const iter = new IovIter();
  iovec.importView(new Uint8Array(buffer, byteOffset, byteLength));
  iter.initBytes(range.direction, iovec);
  return { iter, check: checkFlags(check), appTag, seed };
}

function rangeFault(
  profile: IntegrityProfile,
  { position, bytes }: CallRange,
  length: number,
  block: number,
): string | null {
  if (position % block !== 0 || bytes % block !== 0) {
    return `with metadata, position ${position} and length ${bytes} must be multiples of ${block}`;
  }
  const expected = metadataBytesOf(profile, bytes);
  if (length === expected) return null;
  const each = `${profile.metadata_size} for each ${2 ** profile.interval_exp}`;
  return `metadata has ${length} bytes; ${bytes} bytes of data have ${expected}, ${each}`;
}

function checkFlags({ guard, ref, app }: MetadataCheck): number {
  const flags = (guard === true ? CheckFlag.GUARD : 0) | (ref === true ? CheckFlag.REF : 0);
  return flags | (app === true ? CheckFlag.APP : 0);
}
