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

/** Both values are legal here, and the tests show both. */
export function maybe(condition: boolean): void {
  if (condition) return;
}

/** The default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  return fail(`unreachable value ${String(value)}`);
}
