import { judgeSubmitter, SUBMITTER_RULES } from './judge-submitter.ts';
import type { RecordFile } from './schema.ts';

/** Counts over the recorded faults that went through the library's own submitter. */
export class SubmitterTally {
  cases = 0;
  agree = 0;
  /** Case and difference, one line each. */
  readonly differ: string[] = [];
  readonly byRule = new Map<string, number>(SUBMITTER_RULES.map(({ name }) => [name, 0]));

  async addFile(file: RecordFile): Promise<void> {
    for await (const { one, verdict } of judgeSubmitter(file)) {
      this.cases++;
      switch (verdict.kind) {
        case 'agree':
          this.agree++;
          break;
        case 'rule':
          this.byRule.set(verdict.rule, (this.byRule.get(verdict.rule) ?? 0) + 1);
          break;
        case 'differ':
          this.differ.push(`${file.kernel} ${one.id}: ${verdict.why}`);
          break;
      }
    }
  }

  toJSON(): object {
    const { cases, agree, differ, byRule } = this;
    return { cases, agree, differ, byRule: Object.fromEntries(byRule) };
  }

  text(): string {
    if (this.cases === 0) return '';
    const { cases, agree, differ } = this;
    const head =
      `own submitter, faults of user memory: ${cases} cases, the kernel's bytes on the device in ` +
      `${cases - differ.length}, its result too in ${agree}, differ ${differ.length}`;
    const rules = SUBMITTER_RULES.map(
      ({ name, reason }) => `  ${name} ${this.byRule.get(name) ?? 0}: ${reason}`,
    );
    return `${[head, ...rules, ...differ.map((line) => `differ: ${line}`)].join('\n')}\n`;
  }
}
