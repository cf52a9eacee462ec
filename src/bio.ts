// `biovec/bio`: the path below the public API, for programs that build their own bios.

export { Bio, BioState, chainBio, endBio, isFull } from './bio/bio.ts';
export { addSegment, releasePages, trimBio } from './bio/bio-add.ts';
export { BioFlag, BioOp } from './bio/bio-op.ts';
export { BioPool, type BioPoolOptions } from './bio/bio-pool.ts';
export { gatherBio } from './bio/gather.ts';
export { SplitCause, SplitPoint, splitPoint } from './bio/split-point.ts';
export { BvecCursor } from './bvec/bvec-cursor.ts';
export { BvecTable } from './bvec/bvec-table.ts';
export { BlockDevice, type DeviceOptions, type TransferOptions } from './device/block-device.ts';
export { Disk } from './device/disk.ts';
export { forEachPage } from './iter/for-each-page.ts';
export { IovIter, IterDirection, IterKind } from './iter/iov-iter.ts';
export { Iovec } from './iter/iovec.ts';
export { extract } from './iter/iter-extract.ts';
export type { Limits, LimitsInput } from './limits/limits.ts';
export { presetLimits } from './limits/presets.ts';
export { DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12, type Profile } from './limits/profile.ts';
export { stackLimits } from './limits/stack.ts';
export { validateLimits } from './limits/validate.ts';
export { type AddressSpace, ARENA_SPACE, MappedSpace } from './memory/address-space.ts';
export { HoldKind, maybePinned, pinPages, unpinPages } from './memory/holds.ts';
