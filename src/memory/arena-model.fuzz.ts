// What an arena must look like, kept as one owner per frame: no buddy, no folio order.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../base/units.ts';
import type { Arena } from './arena.ts';
import type { ArenaBuffer } from './arena-buffer.ts';
import { folioHead, folioPages, pinCount, pinPages, unpinPages } from './holds.ts';

/** A block of frames that somebody has: a buffer, or a folio of the data plane. */
export interface Block {
  readonly page: number;
  readonly frames: number;
  readonly buffer: ArenaBuffer | null;
  isReleased: boolean;
  /** Page ranges that are pinned inside, as [first page, pages]. */
  readonly pins: [number, number][];
}

export class ArenaModel {
  readonly arena: Arena;
  readonly blocks: Block[] = [];

  constructor(arena: Arena) {
    this.arena = arena;
  }

  add(page: number, frames: number, buffer: ArenaBuffer | null): Block {
    for (const other of this.blocks) {
      const apart = page + frames <= other.page || other.page + other.frames <= page;
      assert.ok(apart, `frames ${page}+${frames} overlap ${other.page}+${other.frames}`);
    }
    const block = { page, frames, buffer, isReleased: false, pins: [] };
    this.blocks.push(block);
    return block;
  }

  release(block: Block): void {
    if (block.isReleased) return;
    block.isReleased = true;
    if (block.buffer !== null) block.buffer.release();
    else this.arena.putFolio(block.page);
    this.#forget(block);
  }

  pin(block: Block, at: number, pages: number): void {
    const first = block.page + (at % block.frames);
    const count = 1 + (pages % (block.page + block.frames - first));
    const dead = this.freeFrames(block);
    const wanted = Array.from({ length: count }, (_, i) => first + i);
    const until = wanted.findIndex((page) => dead.has(page));
    const expected = until < 0 ? count : until;
    assert.equal(pinPages(first, count), expected);
    if (expected > 0) block.pins.push([first, expected]);
  }

  unpin(block: Block, which: number): void {
    if (block.pins.length === 0) return;
    const [[first, pages]] = block.pins.splice(which % block.pins.length, 1) as [[number, number]];
    unpinPages(first, pages);
    this.#forget(block);
  }

  /** Frames of a released block whose folio nobody pins: they are back in the pool. */
  freeFrames(block: Block): Set<number> {
    const free = new Set<number>();
    if (!block.isReleased) return free;
    for (let page = block.page; page < block.page + block.frames; page++) free.add(page);
    for (const [first, pages] of block.pins) {
      for (let page = first; page < first + pages; page++) {
        const head = folioHead(page);
        for (let i = 0; i < folioPages(page); i++) free.delete(head + i);
      }
    }
    return free;
  }

  /** Frames that somebody keeps from the pool. */
  get usedFrames(): number {
    return this.blocks.reduce((sum, b) => sum + b.frames - this.freeFrames(b).size, 0);
  }

  get pinnedPages(): number {
    return this.blocks.flatMap((b) => b.pins).reduce((sum, [, pages]) => sum + pages, 0);
  }

  /** Parts of a released block go back one by one: what is left are blocks of their own. */
  #forget(block: Block): void {
    const free = this.freeFrames(block);
    if (free.size === 0) return;
    this.blocks.splice(this.blocks.indexOf(block), 1);
    for (let page = block.page; page < block.page + block.frames; page++) {
      if (free.has(page)) continue;
      const rest = {
        page,
        frames: 0,
        buffer: null,
        isReleased: true,
        pins: [] as [number, number][],
      };
      while (page + rest.frames < block.page + block.frames && !free.has(page + rest.frames)) {
        rest.frames++;
      }
      const end = page + rest.frames;
      rest.pins.push(...block.pins.filter(([first]) => first >= page && first < end));
      this.blocks.push(rest);
      page = end;
    }
  }

  check(): void {
    const stats = this.arena.stats();
    assert.equal(stats.usedBytes, this.usedFrames * PAGE_BYTES);
    assert.equal(stats.usedBytes + stats.freeBytes, stats.presentBytes);
    assert.ok(stats.presentBytes <= stats.maxBytes);
    assert.equal(stats.pinnedPages, this.pinnedPages);
    for (const { page, frames, pins } of this.blocks) {
      const heads = new Set(Array.from({ length: frames }, (_, i) => folioHead(page + i)));
      const counted = [...heads].reduce((sum, head) => sum + pinCount(head), 0);
      assert.equal(
        counted,
        pins.reduce((sum, [, pages]) => sum + pages, 0),
      );
    }
  }

  releaseAll(): void {
    for (const block of [...this.blocks]) {
      while (block.pins.length > 0) {
        const [[first, pages]] = block.pins.splice(0, 1) as [[number, number]];
        unpinPages(first, pages);
      }
      if (!block.isReleased) this.release(block);
    }
    this.blocks.length = 0;
  }
}
