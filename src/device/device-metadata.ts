import { MetaContext } from '../map/metadata/meta-context.ts';
import { type MetadataWish, MetaMapping } from '../map/metadata/meta-mapping.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import type { AddressSpace } from '../memory/address-space.ts';
import type { BlockDevice } from './block-device.ts';
import type { Transfer } from './transfer.ts';

/** For a device whose engine keeps metadata. Throws BlockError ENOMEM. */
export function openMetadata(
  device: Pick<BlockDevice, 'engine' | 'limits' | 'arena' | 'profile'>,
  payloads: number,
): MetaContext | null {
  const { engine, limits, arena, profile: kernel } = device;
  const { integrity: profile } = engine.info;
  if (profile === null) return null;
  return new MetaContext({ profile, limits, kernel, arena, payloads });
}

/** What `transfer` brought beside its data; its `status` says whether that will do. */
export function startMetadata(
  device: BlockDevice,
  transfer: Transfer,
  policy: CopyPolicy,
): MetaMapping {
  const { op, position, bytes } = transfer;
  transfer.metaMapping ??= new MetaMapping(device.metadata);
  const meta = transfer.metaMapping;
  meta.start(transfer.metadata as MetadataWish, op, position, bytes, policy);
  return meta;
}

/** Where the page is that `transfer` waits for: its metadata's, or its data's. */
export function spaceOf(transfer: Transfer): AddressSpace | null {
  const { mapping } = transfer;
  const own = mapping.meta === null ? null : mapping.meta.waitsIn;
  return own ?? mapping.iter.space;
}
