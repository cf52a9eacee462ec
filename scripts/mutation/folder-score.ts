import type { Fate } from './run-mutants.ts';
import type { Mutant } from './sandbox.ts';

/** The counts of one folder. */
export class FolderScore {
  readonly folder: string;
  detected = 0;
  /** Of the detected ones: the tests did not come to an end. */
  timeouts = 0;
  /** Changes that no test noticed, in the order of the text. */
  readonly survivors: { readonly mutant: Mutant; readonly fate: Fate }[] = [];

  constructor(folder: string, fates: ReadonlyMap<Mutant, Fate>) {
    this.folder = folder;
    for (const [mutant, fate] of fates) {
      if (fate === 'timeout') this.timeouts++;
      if (fate === 'killed' || fate === 'timeout') this.detected++;
      else this.survivors.push({ mutant, fate });
    }
    this.survivors.sort((a, b) => byPlace(a.mutant, b.mutant));
  }

  get all(): number {
    return this.detected + this.survivors.length;
  }

  /** Percent; 100 where nothing can be changed. */
  get score(): number {
    return this.all === 0 ? 100 : (100 * this.detected) / this.all;
  }
}

function byPlace(a: Mutant, b: Mutant): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
