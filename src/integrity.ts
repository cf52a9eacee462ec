// `biovec/integrity`: protection information for data and metadata in page frames.

export { BioIntegrity, payloadOf } from './integrity/bio-integrity.ts';
export { reportFault } from './integrity/fault-text.ts';
export { generate } from './integrity/generate.ts';
export { PiInjector } from './integrity/injector.ts';
export {
  IntegrityFlag,
  type IntegrityProfile,
  integrityOfType,
  validateIntegrity,
} from './integrity/integrity-profile.ts';
export { PiWalk } from './integrity/pi-walk.ts';
export { deviceBlock, remapRefTags } from './integrity/remap.ts';
export { CheckFlag, PiCheck, PiFault, verify } from './integrity/verify.ts';
