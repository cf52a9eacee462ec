import { HoldKind } from '../../../memory/holds.ts';
import { FrameFlag, FrameState, frameOf } from '../../../memory/region.unsafe.ts';
import { type Request, SegmentCursor } from '../../../queue/request.ts';
import type { PathWorld } from './path-world.ts';

export type Actor = 'reclaim' | 'migration' | 'writeback' | 'fork';

// Row = one page frame: what would be there if bios had one flag.   unit    invariant
//   pins   Int32   count   beside the true count; > 0: a pin that nobody would ever drop
//   refs   Int32   count   the same for references

/**
 * What reclaim, migration, writeback and fork would decide if they knew less. Each segment says how
 * it is held here. With one flag per bio, all segments of a bio are let go in the way of the first,
 * and counts drift; with references alone nobody can tell a pin at all. Nothing is changed: the
 * other answers are worked out beside the right one.
 */
export class Provenance {
  readonly #world: PathWorld;
  readonly #pins: Int32Array;
  readonly #refs: Int32Array;
  readonly #cursor = new SegmentCursor();

  constructor(world: PathWorld) {
    this.#world = world;
    const rows = world.arena.region.framesMax;
    this.#pins = new Int32Array(rows);
    this.#refs = new Int32Array(rows);
  }

  /** A bio has let its pages go: `kinds[i]` is how `pages[i]` was held. */
  released(pages: readonly number[], kinds: readonly HoldKind[]): void {
    const [flag] = kinds;
    this.#world.counts.add(kinds.every((kind) => kind === flag) ? 'bio: one hold' : 'bio: mixed');
    pages.forEach((page, i) => {
      const head = this.#headOf(page);
      if (kinds[i] === flag || page === this.#world.memory.zeroPage) return;
      const isPinned = kinds[i] === HoldKind.PINNED;
      this.#pins[head] += isPinned ? 1 : -1;
      this.#refs[head] += isPinned ? -1 : 1;
    });
  }

  #headOf(page: number): number {
    return this.#world.arena.region.head[frameOf(page)];
  }

  /** `actor` decides about the folio at `head`: may it be moved, freed, cleaned, shared? */
  decide(actor: Actor, head: number): void {
    const { counts, arena, memory } = this.#world;
    const { region } = arena;
    const { columns } = memory;
    if (region.state[head] !== FrameState.USED) {
      this.#pins[head] = 0; // Freed in the world where counts are right: start anew.
      this.#refs[head] = 0;
      return;
    }
    const pins = region.pins[head];
    const refs = region.refs[head];
    const expected = columns.mapCount[head] + (columns.owner[head]?.ownRefs ?? 0);
    const onlyRefs = refs + pins;
    const flagPins = pins + this.#pins[head];
    const flagRefs = refs + this.#refs[head];
    const asks = actor === 'reclaim' || actor === 'migration';
    // Reclaim and migration refuse any hold; writeback and fork ask for pins.
    const isHeld = asks ? pins > 0 || refs !== expected : pins > 0;
    const byRefs = asks ? onlyRefs !== expected : false;
    const byFlag = asks ? flagPins > 0 || flagRefs !== expected : flagPins > 0;
    counts.add(`provenance: ${actor}: decisions`);
    if (byFlag !== isHeld) {
      counts.add(`provenance: ${actor}: wrong with a flag per bio, ${byFlag ? 'refused' : 'done'}`);
    }
    if (byRefs !== isHeld) {
      counts.add(
        `provenance: ${actor}: wrong with references alone, ${byRefs ? 'refused' : 'done'}`,
      );
    }
  }

  /** Reclaim looks at every folio of processes and files. */
  decideAll(actor: Actor): void {
    const { region } = this.#world.arena;
    const { columns } = this.#world.memory;
    for (let head = 0; head < region.frames; head++) {
      if (region.head[head] !== head) continue;
      const isKnown = columns.mapCount[head] > 0 || columns.owner[head] !== null;
      if (isKnown || region.state[head] !== FrameState.USED) this.decide(actor, head);
    }
  }

  /** Pages under writeback leave for the disk. */
  writesBack(request: Request): void {
    const cursor = this.#cursor;
    const { region } = this.#world.arena;
    cursor.start(request);
    while (cursor.next()) {
      const head = this.#headOf(cursor.page + Math.floor(cursor.offset / 4096));
      if ((region.flags[head] & FrameFlag.WRITEBACK) !== 0) this.decide('writeback', head);
    }
  }
}
