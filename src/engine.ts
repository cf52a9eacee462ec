// `biovec/engine`: the contract, for engines of your own, the engines in memory, and what a thread
// needs that sleeps in its ring.

export { Errno } from './base/errno.ts';
export { slotOf } from './base/slots.ts';
export { BioOp } from './bio/bio-op.ts';
export type { Engine, EngineInfo, Extent, ExtentKind } from './engine/contract.ts';
export { openNullEngine } from './engine/memory/null-engine.ts';
export { openRamEngine, RamEngine, type RamMedium } from './engine/memory/ram-engine.ts';
export { regionOf } from './memory/region.unsafe.ts';
export { LaneStop, type LaneStopHandle, laneEnv } from './node/lane-stop.ts';
export { MetadataCursor } from './queue/metadata-cursor.ts';
export { Request, SegmentCursor } from './queue/request.ts';
export { RequestTable } from './queue/request-table.ts';
