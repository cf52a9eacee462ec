// Assertions stay on in production: a wrong byte on a disk costs more than a branch.

/** A bug in this library or in an engine, never a bad input of the user (that is a BlockError). */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** `message` is constant text: building it per call would cost more than the check. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) fail(message);
}

export function fail(message: string): never {
  throw new AssertionError(`biovec: ${message}`);
}

/** Hears of every `maybe`: `what` is its constant text. */
export type MaybeObserver = (what: string, condition: boolean) => void;
let maybeObserver: MaybeObserver | null = null;

/** The simulator counts both sides of every `maybe`; nobody else listens. */
export function observeMaybe(observer: MaybeObserver | null): void {
  maybeObserver = observer;
}

/** Both values are legal here; `what` says the case in constant text. The simulator shows both. */
export function maybe(condition: boolean, what: string): void {
  if (maybeObserver !== null) maybeObserver(what, condition);
}

/** The default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  return fail(`unreachable value ${String(value)}`);
}
