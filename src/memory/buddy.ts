import { assert } from '../base/assert.ts';
import { FrameState, type Region } from './region.unsafe.ts';

// Buddy allocator over the frames of one region: a folio of order k starts at a multiple of 2^k.
// Freeing joins equal neighbours, so memory that was all given back is contiguous again.

/** 2^10 frames = 4 MiB, the largest folio (Linux: MAX_PAGE_ORDER). */
export const ORDER_MAX = 10;
const NONE = -1;

export class Buddy {
  readonly #region: Region;
  /** First free head of each order, or -1. */
  readonly #first = new Int32Array(ORDER_MAX + 1).fill(NONE);
  /** Frames from here on were never handed out. */
  #end = 0;
  #freeFrames = 0;

  constructor(region: Region) {
    this.#region = region;
  }

  get freeFrames(): number {
    return this.#freeFrames;
  }

  /** Frames in the allocator's care, free or used. */
  get endFrame(): number {
    return this.#end;
  }

  /** Takes the present frames up to `end` into care, as the largest aligned folios that fit. */
  extend(end: number): void {
    assert(end <= this.#region.frames, 'buddy: frames that are not present');
    while (this.#end < end) {
      const order = largestOrder(this.#end, end - this.#end);
      const frame = this.#end;
      this.#end += 2 ** order;
      this.#join(frame, order);
    }
  }

  /** Head frame of a folio of `order`, or -1. The folio has no holds yet. */
  take(order: number): number {
    assert(order >= 0 && order <= ORDER_MAX, 'buddy: order outside 0..10');
    let from = order;
    while (from <= ORDER_MAX && this.#first[from] === NONE) from++;
    if (from > ORDER_MAX) return NONE;
    const head = this.#first[from] as number;
    this.#unlink(head, from);
    while (from > order) {
      from--;
      this.#push(head + 2 ** from, from);
    }
    this.#makeFolio(head, order);
    return head;
  }

  /** Takes exactly the folio of `order` at `head`, if all of it is free. */
  takeAt(head: number, order: number): boolean {
    const region = this.#region;
    let owner = -1;
    let ownerOrder = 0;
    for (let k = order; k <= ORDER_MAX; k++) {
      const start = head - (head % 2 ** k);
      if (region.state[start] !== FrameState.FREE || region.order[start] !== k) continue;
      if (region.head[start] !== start) continue;
      owner = start;
      ownerOrder = k;
      break;
    }
    if (owner < 0) return false;
    this.#unlink(owner, ownerOrder);
    while (ownerOrder > order) {
      ownerOrder--;
      const half = 2 ** ownerOrder;
      const upper = owner + half;
      if (head >= upper) {
        this.#push(owner, ownerOrder);
        owner = upper;
      } else {
        this.#push(upper, ownerOrder);
      }
    }
    this.#makeFolio(head, order);
    return true;
  }

  /**
   * The first `frames` free frames in a row, as folios, or -1: for buffers above 4 MiB and for
   * memory that is nearly full. Walks folio by folio, so it is for the control plane.
   */
  takeRun(frames: number): number {
    const { state, order } = this.#region;
    let run = 0;
    for (let head = 0; head < this.#end; head += 2 ** order[head]) {
      run = state[head] === FrameState.FREE ? run + 2 ** order[head] : 0;
      if (run < frames) continue;
      const first = head + 2 ** order[head] - run;
      const end = first + frames;
      // An aligned block that is free all over lies in one free folio: neighbours were joined.
      for (let at = first; at < end; at += 2 ** order[at]) {
        assert(this.takeAt(at, largestOrder(at, end - at)), 'buddy: a free run is not free');
      }
      return first;
    }
    return NONE;
  }

  /** Cuts a used folio in two of the order below; both keep the references of the whole. */
  splitFolio(head: number): void {
    const region = this.#region;
    const order = (region.order[head] as number) - 1;
    assert(order >= 0 && region.pins[head] === 0, 'buddy: cannot split this folio');
    const upper = head + 2 ** order;
    this.#makeFolio(head, order, region.refs[head]);
    this.#makeFolio(upper, order, region.refs[head]);
  }

  /** Gives the folio at `head` back. Pre: no holds. */
  give(head: number): void {
    const region = this.#region;
    assert(region.state[head] === FrameState.USED, 'buddy: released twice');
    assert(region.refs[head] === 0 && region.pins[head] === 0, 'buddy: released with holds');
    region.state[head] = FrameState.ABSENT;
    this.#join(head, region.order[head]);
  }

  /** Frees the frames of a folio and joins them with every equal neighbour that is free. */
  #join(head: number, headOrder: number): void {
    const region = this.#region;
    let order = headOrder;
    let at = head;
    while (order < ORDER_MAX) {
      const size = 2 ** order;
      const twin = at % (2 * size) === 0 ? at + size : at - size;
      if (twin + size > this.#end) break;
      if (region.state[twin] !== FrameState.FREE || region.order[twin] !== order) break;
      this.#unlink(twin, order);
      at = Math.min(at, twin);
      order++;
    }
    this.#push(at, order);
  }

  #makeFolio(head: number, order: number, refs = 0): void {
    const region = this.#region;
    const end = head + 2 ** order;
    for (let i = head; i < end; i++) region.head[i] = head;
    region.order[head] = order;
    region.state[head] = FrameState.USED;
    region.refs[head] = refs;
    region.pins[head] = 0;
    region.flags[head] = 0;
  }

  #push(head: number, order: number): void {
    const region = this.#region;
    const first = this.#first[order] as number;
    this.#freeFrames += 2 ** order;
    region.state[head] = FrameState.FREE;
    region.order[head] = order;
    region.head[head] = head;
    region.next[head] = first;
    region.prev[head] = NONE;
    if (first !== NONE) region.prev[first] = head;
    this.#first[order] = head;
  }

  #unlink(head: number, order: number): void {
    const region = this.#region;
    const next = region.next[head] as number;
    const prev = region.prev[head] as number;
    if (prev === NONE) this.#first[order] = next;
    else region.next[prev] = next;
    if (next !== NONE) region.prev[next] = prev;
    this.#freeFrames -= 2 ** order;
    region.state[head] = FrameState.ABSENT;
  }
}

function largestOrder(frame: number, room: number): number {
  let order = 0;
  while (order < ORDER_MAX && frame % 2 ** (order + 1) === 0 && 2 ** (order + 1) <= room) order++;
  return order;
}
