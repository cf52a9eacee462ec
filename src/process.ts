// `biovec/process`: address spaces, pinned pages and files of extents, for emulators and rigs.

export { ExtentFile } from './cache/extent-file.ts';
export { Access } from './memory/address-space.ts';
export {
  type Area,
  type AreaOps,
  FaultFlag,
  type FaultRequest,
  FaultResult,
  Protection,
} from './memory/user/area.ts';
export { PinnedRegion, type RegisterOptions } from './memory/user/long-term.ts';
export { PinBudget } from './memory/user/pin-budget.ts';
export {
  getUserPages,
  PinFlag,
  pinUserPages,
  tryGetUserPages,
  tryPinUserPages,
} from './memory/user/pin-user-pages.ts';
export {
  putUserPages,
  unpinUserPages,
  unpinUserPagesDirty,
  unpinUserPagesDirtyLock,
} from './memory/user/unpin-user-pages.ts';
export { UserMemory, type UserMemoryOptions } from './memory/user/user-memory.ts';
export type { UserSpace } from './memory/user/user-space.ts';
export { Process, type ProcessOptions } from './process/process.ts';
