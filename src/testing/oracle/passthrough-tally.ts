import {
  type FallbackChange,
  type FallbackJudged,
  judgeFallback,
  judgePassthrough,
  PASSTHROUGH_ORACLE_RULES,
} from './judge-passthrough.ts';
import type { RecordFile } from './schema.ts';

interface OpCounts {
  cases: number;
  agree: number;
  rule: number;
}

/** Counts over the records of topic `map`: by the rules of their kernel, and by ours. */
export class PassthroughTally {
  readonly byOp = new Map<string, OpCounts>();
  readonly byRule = new Map<string, number>();
  /** Case and difference, one line each. */
  readonly differ: string[] = [];
  /** With the fallback on, by kernel and change. */
  readonly changes = new Map<string, Map<FallbackChange, number>>();

  /** Every case with the fallback on. */
  readonly fallback: (FallbackJudged & { readonly file: RecordFile })[] = [];
  /** The case that was asked for, in full. */
  shown = '';

  /** True for a record of topic `map`: its cases, or the one of that name, are judged here. */
  takes(file: RecordFile, caseId: string | null = null): boolean {
    if (file.topic !== 'map') return false;
    const cases = file.cases.filter(({ id }) => caseId === null || id === caseId);
    const chosen = { ...file, cases };
    this.addFile(chosen);
    if (caseId === null) return true;
    for (const { one, verdict, kernel, ours } of judgePassthrough(chosen)) {
      const { request: _request, result: _result, ...input } = one;
      const parts = { kernel: file.kernel, verdict, input, expected: kernel, ours };
      this.shown += `${one.id} ${JSON.stringify(parts, null, 1)}\n`;
    }
    return true;
  }

  addFile(file: RecordFile): void {
    for (const { one, verdict } of judgePassthrough(file)) {
      const name = one.op === 'sgio' ? `sgio ${one.via}` : one.op;
      const counts = this.byOp.get(name) ?? { cases: 0, agree: 0, rule: 0 };
      this.byOp.set(name, counts);
      counts.cases++;
      if (verdict.kind === 'agree') counts.agree++;
      else if (verdict.kind === 'rule') {
        counts.rule++;
        this.byRule.set(verdict.rule, (this.byRule.get(verdict.rule) ?? 0) + 1);
      } else {
        const [{ field, expected, actual }] = verdict.differences;
        const texts = [expected, actual].map((text) => text.slice(0, 100));
        this.differ.push(`${file.kernel} ${one.id}, ${field}: ${texts.join(', ours ')}`);
      }
    }
    const changes = new Map<FallbackChange, number>();
    for (const judged of judgeFallback(file)) {
      const { one, change, why } = judged;
      this.fallback.push({ ...judged, file });
      changes.set(change, (changes.get(change) ?? 0) + 1);
      if (change === 'unexplained') this.differ.push(`${file.kernel} ${one.id}, fallback: ${why}`);
    }
    this.changes.set(file.kernel, changes);
  }

  get cases(): number {
    return [...this.byOp.values()].reduce((sum, { cases }) => sum + cases, 0);
  }

  get agree(): number {
    return [...this.byOp.values()].reduce((sum, { agree }) => sum + agree, 0);
  }

  toJSON(): object {
    const { byOp, byRule, differ, changes } = this;
    return {
      byOp: Object.fromEntries(byOp),
      byRule: Object.fromEntries(byRule),
      differ,
      changes: Object.fromEntries(
        [...changes].map(([kernel, by]) => [kernel, Object.fromEntries(by)]),
      ),
    };
  }

  text(): string {
    if (this.cases === 0) return '';
    const lines = [
      `passthrough, the rules of each kernel: ${this.cases} cases, differ ${this.differ.length}`,
    ];
    for (const [op, { cases, agree, rule }] of this.byOp) {
      lines.push(`  ${op.padEnd(12)}${agree} of ${cases} agree, ${rule} by rule`);
    }
    for (const { name, reason } of PASSTHROUGH_ORACLE_RULES) {
      lines.push(`  ${name} ${this.byRule.get(name) ?? 0}: ${reason}`);
    }
    const kernels = [...this.changes.keys()];
    lines.push(`passthrough, the same cases with the fallback to copies: ${kernels.join(', ')}`);
    const names = new Set([...this.changes.values()].flatMap((by) => [...by.keys()]));
    for (const name of [...names].sort()) {
      const counts = kernels.map((kernel) => String(this.changes.get(kernel)?.get(name) ?? 0));
      lines.push(`  ${counts.map((count) => count.padStart(5)).join('')}  ${name}`);
    }
    lines.push(...this.differ.map((line) => `differ: ${line}`));
    return `${lines.join('\n')}\n`;
  }
}
