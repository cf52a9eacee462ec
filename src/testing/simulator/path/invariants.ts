import { AssertionError, assert } from '../../../base/assert.ts';
import { FrameState } from '../../../memory/region.unsafe.ts';
import type { PathWorld } from './path-world.ts';

/** After every step: counts that somebody keeps anyway. */
export function checkCheaply(world: PathWorld): void {
  for (const { device, checked, engine } of world.disks) {
    const { requests, queue } = device;
    assert(requests.busyCount <= engine.info.depth, 'sim: more tags than the depth');
    assert(queue.inFlight === checked.inFlight, 'sim: queue and engine count differently');
    assert(queue.inFlight <= requests.busyCount, 'sim: in flight without a tag');
  }
  world.longTerm?.check();
}

/** Every page frame: nobody's hold is missing, and no page is held that nobody has. */
export function checkFully(world: PathWorld): void {
  const { region } = world.arena;
  const { columns } = world.memory;
  let pins = 0;
  for (let frame = 0; frame < region.frames; frame++) {
    if (region.head[frame] !== frame) continue;
    const isUsed = region.state[frame] === FrameState.USED;
    const isHeld = region.refs[frame] > 0 || region.pins[frame] > 0;
    if (isUsed !== isHeld) wrong(frame, isUsed ? 'in use, but nobody holds it' : 'held, but free');
    if (!isUsed) continue;
    pins += region.pins[frame];
    const owned = columns.owner[frame]?.ownRefs ?? 0;
    if (region.refs[frame] < columns.mapCount[frame] + owned) wrong(frame, 'short of references');
  }
  if (pins !== region.pinnedPages) {
    throw new AssertionError(`sim: ${pins} pins at the frames, ${region.pinnedPages} counted`);
  }
}

/** Nothing is in flight and nothing registered: every reference has a mapping or an owner. */
export function checkIdle(world: PathWorld): void {
  const { region } = world.arena;
  const { columns } = world.memory;
  assert(region.pinnedPages === 0, 'sim: a pin without an owner');
  for (let frame = 0; frame < region.frames; frame++) {
    if (region.head[frame] !== frame || region.state[frame] !== FrameState.USED) continue;
    const owner = columns.owner[frame];
    if (owner === null && columns.mapCount[frame] === 0) continue; // A device's or the zero page.
    const known = columns.mapCount[frame] + (owner?.ownRefs ?? 0);
    if (region.refs[frame] !== known) wrong(frame, 'held by nobody that is known');
  }
}

function wrong(frame: number, what: string): never {
  throw new AssertionError(`sim: page frame ${frame} is ${what}`);
}
