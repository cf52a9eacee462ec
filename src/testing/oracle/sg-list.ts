import type { Bio } from '../../bio/bio.ts';
import { opHasData } from '../../bio/bio-op.ts';
import { SegmentWalk } from '../../dma/segment-walk.ts';
import type { Limits } from '../../limits/limits.ts';

/**
 * The scatterlist of `bios`, the parts of one request in order, as [physical address, bytes]. Both
 * recorded kernels join entries at the joint of two bios only. It leaves the bios as they are.
 */
export function sgList(bios: readonly Bio[], limits: Limits): [number, number][] {
  const [first] = bios;
  if (first === undefined || !opHasData(first.op)) return [];
  const links = bios.map((bio) => bio.next);
  for (const [i, bio] of bios.entries()) bio.next = bios[i + 1] ?? null;
  const list: [number, number][] = [];
  const walk = new SegmentWalk();
  walk.start(first, limits, 'bios');
  while (walk.next()) list.push([walk.addr, walk.len]);
  for (const [i, bio] of bios.entries()) bio.next = links[i] ?? null;
  return list;
}
