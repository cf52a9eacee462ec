// `biovec/integrity`: protection information for data and metadata in page frames.

export { BioIntegrity } from './integrity/bio-integrity.ts';
export { reportFault } from './integrity/fault-text.ts';
export { generate } from './integrity/generate.ts';
export {
  IntegrityFlag,
  type IntegrityProfile,
  integrityOfType,
  validateIntegrity,
} from './integrity/integrity-profile.ts';
export { PiWalk } from './integrity/pi-walk.ts';
export { remapRefTags } from './integrity/remap.ts';
export { CheckFlag, PiCheck, PiFault, verify } from './integrity/verify.ts';
