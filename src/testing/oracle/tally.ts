import type { Judged } from './judged.ts';
import { RULES } from './rules.ts';

/** Counts over the cases of one file, or of all. */
export class Tally {
  cases = 0;
  agree = 0;
  differ = 0;
  rule = 0;
  notCovered = 0;
  /** Of the agreeing ones: requests also left in the kernel's order. */
  sameOrder = 0;
  /** Of the agreeing ones: every request also has the kernel's scatterlist. */
  sameSg = 0;
  readonly byRule = new Map<string, number>(RULES.map(({ name }) => [name, 0]));
  readonly byWhy = new Map<string, number>();

  add({ verdict }: Judged): void {
    this.cases++;
    switch (verdict.kind) {
      case 'agree':
        this.agree++;
        if (verdict.isOrderEqual) this.sameOrder++;
        if (verdict.isSgEqual) this.sameSg++;
        break;
      case 'differ':
        this.differ++;
        break;
      case 'rule':
        this.rule++;
        this.byRule.set(verdict.rule, (this.byRule.get(verdict.rule) ?? 0) + 1);
        break;
      case 'not-covered':
        this.notCovered++;
        this.byWhy.set(verdict.why, (this.byWhy.get(verdict.why) ?? 0) + 1);
        break;
    }
  }

  /** Adds all counts of `other`. */
  join(other: Tally): void {
    this.cases += other.cases;
    this.agree += other.agree;
    this.differ += other.differ;
    this.rule += other.rule;
    this.notCovered += other.notCovered;
    this.sameOrder += other.sameOrder;
    this.sameSg += other.sameSg;
    for (const [name, count] of other.byRule) {
      this.byRule.set(name, (this.byRule.get(name) ?? 0) + count);
    }
    for (const [why, count] of other.byWhy) this.byWhy.set(why, (this.byWhy.get(why) ?? 0) + count);
  }

  /** Cases that were compared. */
  get compared(): number {
    return this.cases - this.notCovered;
  }

  toJSON(): object {
    const { cases, agree, differ, rule, notCovered, sameOrder, sameSg } = this;
    return {
      cases,
      agree,
      differ,
      rule,
      notCovered,
      sameOrder,
      sameSg,
      byRule: Object.fromEntries(this.byRule),
      byWhy: Object.fromEntries(this.byWhy),
    };
  }
}
