import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { formatSize } from '../../base/units.ts';

/** Somebody who keeps pages pinned for long. */
export interface PinHolder {
  /** 'ring buffers: 1 MiB at 0x100000, registered at file:line'. */
  describe(): string;
}

/**
 * How much memory may stay pinned, and who pinned it: pinned pages are out of reach for reclaim
 * and migration, so they need a bound. Linux: RLIMIT_MEMLOCK, `mm->pinned_vm`.
 */
export class PinBudget {
  readonly label: string;
  /** Infinity: no bound, only a ledger. */
  readonly bytesMax: number;
  readonly #holders = new Map<PinHolder, number>();
  #usedBytes = 0;

  constructor(options: { readonly bytesMax: number; readonly label?: string }) {
    if (!(options.bytesMax >= 0)) {
      const reason = `bytesMax is ${options.bytesMax}; a pin budget has 0 bytes or more`;
      throw new BlockError('EINVAL', { reason });
    }
    this.bytesMax = options.bytesMax;
    this.label = options.label ?? 'pin budget';
  }

  /** Bytes of whole pages, as they are charged. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  get allowedBytes(): number {
    return this.bytesMax - this.#usedBytes;
  }

  /** False: `bytes` more are too many; nothing is charged. */
  tryCharge(holder: PinHolder, bytes: number): boolean {
    assert(bytes > 0 && !this.#holders.has(holder), 'pin budget: charged once, with bytes');
    if (bytes > this.allowedBytes) return false;
    this.#usedBytes += bytes;
    this.#holders.set(holder, bytes);
    return true;
  }

  uncharge(holder: PinHolder): void {
    const bytes = this.#holders.get(holder);
    assert(bytes !== undefined, 'pin budget: uncharged twice');
    this.#holders.delete(holder);
    this.#usedBytes -= bytes;
    assert(this.#usedBytes >= 0, 'pin budget: more uncharged than charged');
  }

  /** Why `bytes` more are too many. */
  refusal(bytes: number): string {
    return (
      `${formatSize(bytes)} of pinned memory are required, ` +
      `${formatSize(this.allowedBytes)} are allowed: ${formatSize(this.#usedBytes)} of the ` +
      `${formatSize(this.bytesMax)} of ${this.label} are in use`
    );
  }

  /** Who holds pages now. */
  report(): readonly string[] {
    return [...this.#holders.keys()].map((holder) => holder.describe());
  }

  /** Throws ERR_BIOVEC_LEAK naming each holder. */
  assertNothingOutstanding(): void {
    if (this.#holders.size === 0) return;
    const reason = `${this.label} has pinned memory left: ${this.report().join('; ')}`;
    throw new BlockError('ERR_BIOVEC_LEAK', { reason });
  }
}
