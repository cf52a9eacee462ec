/**
 * What the instrumented code asks at every changed place: `mutationSwitch.is(id)`. It stands in
 * `globalThis`, because code and tests that are loaded again and again must share one.
 */
export class MutationSwitch {
  /** The change that is made now, or -1. */
  active = -1;
  /** Left until the change counts as an endless loop. */
  hitsLeft = 0;
  /** Counts by change while `isCounting`, else null. */
  counts: Map<number, number> | null = null;

  is(id: number): boolean {
    if (this.counts !== null) this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
    if (this.active !== id) return false;
    if (--this.hitsLeft < 0) throw new Error('mutation: too many hits, an endless loop');
    return true;
  }
}

/** The one of this process. */
export function mutationSwitch(): MutationSwitch {
  const place = globalThis as { mutationSwitch_?: MutationSwitch };
  place.mutationSwitch_ ??= new MutationSwitch();
  return place.mutationSwitch_;
}

/** What an instrumented file starts with. Programs that tests start have no switch. */
export const SWITCH_HEADER = 'const mutant_ = globalThis.mutationSwitch_ ?? { is: () => false };';
