/**
 * The folders of `src/` in the order of the path: a file imports its own folder or one that stands
 * before it. Entry files directly in `src/` stand outside the order. `npm run tidy` reads this.
 */
export const LAYERS = [
  'base', // assertions, errno, units, slots, probe points, the environment's interface
  'abi', // constants of kernels and protocols, C spelling
  'limits', // what a device can take, and the profiles of named behaviours
  'memory', // arena, page frames, holds, address spaces
  'bvec', // the carrier: segment columns, their two views, contiguity
  'iter', // iov_iter: one cursor over every kind of memory
  'bio', // bio, chain, clone, split, pools
  'integrity', // PI formats, guards, generate, verify, remap
  'map', // map or copy: the submitter's side
  'queue', // split, merge, plug, tags, requests
  'dma', // scatterlists, DMA mapping, what a controller sees
  'engine', // contract, memory, file
  'device', // submit.ts and complete.ts: the table of contents of the path
  'cache', // page cache and writeback, extent-mapped files
  'process', // processes: address space and system calls on devices
  'protect', // tuples for devices that have none
  'node', // the environment on Node, the FFI door
  'targets', // a target's name → a device
  'trace', // counters and writers over the probe points
  'testing', // engine suite, simulator, fault plans, text cases
  'cli', // copy, info, explain
] as const;
export type Layer = (typeof LAYERS)[number];

/** These layers also run in a browser page: no `node:` import in them. */
export const BROWSER_LAYERS: readonly Layer[] = [
  'base',
  'abi',
  'limits',
  'memory',
  'bvec',
  'iter',
  'bio',
  'integrity',
  'map',
  'queue',
  'dma',
  'device',
  'cache',
  'process',
  'protect',
  'trace',
];
