import { assert } from '../base/assert.ts';

// What may sleep must not be called while a page is mapped atomically: a page iterator with the
// ATOMIC or LOCAL flag is such a section. Nothing sleeps in JavaScript, but what waits on a fault
// would, so the rule is kept and tested here.

let depth = 0;

export function enterAtomic(): void {
  depth++;
}

export function leaveAtomic(): void {
  assert(depth > 0, 'atomic section: left more often than entered');
  depth--;
}

export function isAtomic(): boolean {
  return depth > 0;
}

/** Linux: might_sleep(). */
export function mightSleep(): void {
  assert(depth === 0, 'atomic section: a call that may sleep while a page is mapped');
}
