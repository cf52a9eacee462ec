// `biovec/integrity`: protection information for data and metadata in page frames.

export { BioIntegrity, payloadOf } from './integrity/bio-integrity.ts';
export { reportFault } from './integrity/fault-text.ts';
export { generate } from './integrity/generate.ts';
export { PiInjector } from './integrity/injector.ts';
export {
  IntegrityFlag,
  type IntegrityProfile,
  integrityOfType,
  PiType,
  validateIntegrity,
} from './integrity/integrity-profile.ts';
export { PiWalk } from './integrity/pi-walk.ts';
export { deviceBlock, remapRefTags } from './integrity/remap.ts';
export { CheckFlag, PiCheck, PiFault, verify } from './integrity/verify.ts';
export { type BlockFault, DataPages, forEachPageOf } from './protect/data-pages.ts';
export { type OpenProtectOptions, openProtect } from './protect/open-protect.ts';
export { formatStore, layoutFor, type StoreFormat } from './protect/open-store.ts';
export { type ProtectDataOptions, protectData } from './protect/protect-data.ts';
export type { ProtectEngine } from './protect/protect-engine.ts';
export type { RecoveryReport } from './protect/recovery.ts';
