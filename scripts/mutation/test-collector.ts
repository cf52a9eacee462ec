// Stands in for node:test in a mutation run: test files declare, `worker.ts` runs what it wants,
// again and again in one process.

type Body = (context: object) => unknown;
type Hook = () => unknown;
interface Settings {
  readonly skip?: boolean | string;
}

export class Suite {
  readonly parent: Suite | null;
  readonly before: Hook[] = [];
  readonly after: Hook[] = [];
  readonly beforeEach: Hook[] = [];
  readonly afterEach: Hook[] = [];

  constructor(parent: Suite | null) {
    this.parent = parent;
  }
}

export interface CollectedTest {
  readonly suite: Suite;
  readonly name: string;
  readonly body: Body;
}

let suite = new Suite(null);
let tests: CollectedTest[] = [];

/** Starts a new test file; what it declares is returned by `collected`. */
export function startCollecting(): void {
  suite = new Suite(null);
  tests = [];
}

export function collected(): readonly CollectedTest[] {
  return tests;
}

export function test(name: string, ...rest: (Settings | Body)[]): void {
  const body = rest.find((part) => typeof part === 'function');
  const settings = rest.find((part) => typeof part === 'object');
  if (body === undefined || (settings?.skip !== undefined && settings.skip !== false)) return;
  tests.push({ suite, name, body });
}

export function describe(_name: string, ...rest: (Settings | Hook)[]): void {
  const body = rest.find((part) => typeof part === 'function');
  const outer = suite;
  suite = new Suite(outer);
  body?.();
  suite = outer;
}

export const it = test;
export { describe as suite };

export function before(hook: Hook): void {
  suite.before.push(hook);
}

export function after(hook: Hook): void {
  suite.after.push(hook);
}

export function beforeEach(hook: Hook): void {
  suite.beforeEach.push(hook);
}

export function afterEach(hook: Hook): void {
  suite.afterEach.push(hook);
}

/** From the outermost suite in. */
function suitesOf(inner: Suite): Suite[] {
  return inner.parent === null ? [inner] : [...suitesOf(inner.parent), inner];
}

/** Runs `chosen` with their hooks, in order; throws what the first failing one throws. */
export async function runTests(
  chosen: readonly CollectedTest[],
  onTest: (test: CollectedTest | null) => void,
): Promise<void> {
  const opened = new Set<Suite>();
  for (const one of chosen) {
    const suites = suitesOf(one.suite);
    onTest(null);
    for (const each of suites.filter((candidate) => !opened.has(candidate))) {
      opened.add(each);
      for (const hook of each.before) await hook();
    }
    onTest(one);
    for (const each of suites) for (const hook of each.beforeEach) await hook();
    const cleanups: Hook[] = [];
    await one.body(contextOf(cleanups));
    for (const hook of cleanups) await hook();
    for (const each of suites.toReversed()) for (const hook of each.afterEach) await hook();
  }
  onTest(null);
  for (const each of [...opened].reverse()) for (const hook of each.after) await hook();
}

/** What a test gets of node:test's TestContext. */
function contextOf(cleanups: Hook[]): object {
  return {
    name: '',
    signal: new AbortController().signal,
    diagnostic: () => undefined,
    after: (hook: Hook) => cleanups.push(hook),
    test: async (_name: string, ...rest: (Settings | Body)[]) => {
      const body = rest.find((part) => typeof part === 'function');
      await body?.(contextOf(cleanups));
    },
  };
}
