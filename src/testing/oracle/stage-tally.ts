import { judgeStage } from './judge-stage.ts';
import type { RecordFile } from './schema.ts';

/** Counts over the transfers with metadata that went through the library's own stage for it. */
export class StageTally {
  cases = 0;
  /** Case and difference, one line each. */
  readonly differ: string[] = [];

  addFile(file: RecordFile): void {
    for (const { one, why } of judgeStage(file)) {
      this.cases++;
      if (why !== null) this.differ.push(`${file.kernel} ${one.id}: ${why}`);
    }
  }

  toJSON(): object {
    const { cases, differ } = this;
    return { cases, differ };
  }

  text(): string {
    if (this.cases === 0) return '';
    const head =
      `own stage for metadata: ${this.cases} transfers, the kernel's tuples on the device and ` +
      `its result in ${this.cases - this.differ.length}, differ ${this.differ.length}`;
    return `${[head, ...this.differ.map((line) => `differ: ${line.slice(0, 200)}`)].join('\n')}\n`;
  }
}
