import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { FrameState, frameOf } from '../../../memory/region.unsafe.ts';
import { PinBudget, type PinHolder } from '../../../memory/user/pin-budget.ts';
import { PinFlag, tryPinUserPages } from '../../../memory/user/pin-user-pages.ts';
import { unpinUserPagesDirty } from '../../../memory/user/unpin-user-pages.ts';
import type { PathAction } from './path-action.ts';
import type { PathProcess, PathWorld } from './path-world.ts';

class Registration implements PinHolder {
  readonly text: string;
  readonly pages: Uint32Array;
  count = 0;

  constructor(text: string, count: number) {
    this.text = text;
    this.pages = new Uint32Array(count);
  }

  describe(): string {
    return this.text;
  }
}

const BUDGET_BYTES = 24 * PAGE_BYTES;

/** Memory of processes that stays pinned over many steps, within a budget. */
export class LongTerm {
  readonly #world: PathWorld;
  readonly #budget = new PinBudget({ bytesMax: BUDGET_BYTES, label: 'simulator' });
  readonly #held: Registration[] = [];

  constructor(world: PathWorld) {
    this.#world = world;
    world.longTerm = this;
  }

  get pinnedPages(): number {
    return this.#held.reduce((sum, { count }) => sum + count, 0);
  }

  register(made: PathProcess, { addr, bytes }: PathAction): void {
    const { counts, memory } = this.#world;
    const count = Math.ceil(bytes / PAGE_BYTES);
    const held = new Registration(`${made.model.name} at 0x${addr.toString(16)}`, count);
    if (!this.#budget.tryCharge(held, count * PAGE_BYTES)) {
      counts.add('registration: over the budget');
      return;
    }
    const flags = PinFlag.WRITE | PinFlag.LONGTERM;
    const { space } = made.process;
    held.count = tryPinUserPages(space, addr, count, flags, held.pages, 0);
    counts.add(held.count > 0 ? 'registration: pinned' : `registration: ${held.count}`);
    if (held.count <= 0) {
      this.#budget.uncharge(held);
      const isLegal = [Errno.EFAULT, Errno.ENOMEM, Errno.EBUSY, Errno.EAGAIN].some((errno) => {
        return held.count === -errno;
      });
      if (!isLegal) throw new AssertionError(`sim: registration ended with ${held.count}`);
      return;
    }
    this.#held.push(held);
    this.#world.model.partPinned(made.model, addr, held.count * PAGE_BYTES);
    for (let i = 0; i < held.count; i++) {
      if (memory.isMovable(held.pages[i])) {
        throw new AssertionError('sim: a long-term pin in the movable zone');
      }
    }
  }

  unregister(n: number): void {
    if (this.#held.length === 0) return;
    const [held] = this.#held.splice(n % this.#held.length, 1);
    this.#budget.uncharge(held);
    unpinUserPagesDirty(held.pages, 0, held.count);
  }

  releaseAll(): void {
    while (this.#held.length > 0) this.unregister(0);
  }

  /** Nobody may free what is pinned, whatever the process does. */
  check(): void {
    const { region } = this.#world.arena;
    for (const { pages, count, text } of this.#held) {
      for (let i = 0; i < count; i++) {
        const head = region.head[frameOf(pages[i])];
        const isAlive = region.state[head] === FrameState.USED && region.pins[head] > 0;
        if (!isAlive) throw new AssertionError(`sim: a pinned page of ${text} was freed`);
      }
    }
  }
}
