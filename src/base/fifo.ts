import { assert } from './assert.ts';

/** Room at the start; doubled when it is full. A power of two. */
const ROOM_MIN = 16;

/**
 * First in, first out, in a ring: without the move of everything behind that `Array.shift` makes,
 * and without allocation once it has been as long as it ever gets.
 */
export class Fifo<Item> {
  #items: (Item | null)[] = new Array<Item | null>(ROOM_MIN).fill(null);
  #first = 0;
  #count = 0;

  get length(): number {
    return this.#count;
  }

  push(item: Item): void {
    if (this.#count === this.#items.length) this.#grow();
    this.#items[(this.#first + this.#count) & (this.#items.length - 1)] = item;
    this.#count++;
  }

  /** Pre: not empty. */
  shift(): Item {
    assert(this.#count > 0, 'fifo: empty');
    const item = this.#items[this.#first] as Item;
    this.#items[this.#first] = null;
    this.#first = (this.#first + 1) & (this.#items.length - 1);
    this.#count--;
    return item;
  }

  /** What `shift` would give. Pre: not empty. */
  get first(): Item {
    assert(this.#count > 0, 'fifo: empty');
    return this.#items[this.#first] as Item;
  }

  /**
   * Takes `item` out of the order, if it is there. Looks from the first one on, so that it costs
   * little when all leave in their order.
   */
  remove(item: Item): void {
    const mask = this.#items.length - 1;
    let at = 0;
    while (at < this.#count && this.#items[(this.#first + at) & mask] !== item) at++;
    if (at === this.#count) return;
    // Those before it move up by one: none, for the first.
    for (; at > 0; at--) {
      this.#items[(this.#first + at) & mask] = this.#items[(this.#first + at - 1) & mask] as Item;
    }
    this.shift();
  }

  #grow(): void {
    const items = this.#items;
    const ordered = [...items.slice(this.#first), ...items.slice(0, this.#first)];
    this.#items = [...ordered, ...new Array<null>(items.length).fill(null)];
    this.#first = 0;
  }
}
