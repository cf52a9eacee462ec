import type { Tally } from './tally.ts';

/**
 * A simulated world: everything one seed decides, and a model that judges it. Any method may
 * throw: that is how a world says that something is wrong.
 */
export interface World {
  /** Step `index` of the seed: one random action, or one event of the clock. */
  step(index: number): void;
  /** Does again what `line` of a history says. What no longer makes sense does nothing. */
  replay(line: string): void;
  /** What the last step did, as a line that `replay` takes. */
  line(): string;
  /** Checks that hold between any two steps. */
  check(): void;
  /** Lets everything in flight end and compares all bytes. */
  finish(): void;
  /** After `finish`: gives everything back, and throws when something is still held. */
  close(): Promise<void>;
  /** After a failure: the address space goes back whatever is still held. */
  abandon(): void;
  tally(into: Tally): void;
}

export const WORLD_KINDS = ['device', 'path', 'tuples'] as const;
export type WorldKind = (typeof WORLD_KINDS)[number];

/** Choices of a world by name, over those of its seed: 'faults' → 'off'. */
export type WorldSettings = Readonly<Record<string, string>>;
