// Assertions are not changed: a condition that no caller can break has no test that fails without
// it, and texts of assertions are for the reader of a crash.

/** What is looked at of a node of Babel's tree. */
interface SyntaxNode {
  readonly type: string;
  readonly name?: string;
  readonly callee?: SyntaxNode;
  readonly expression?: SyntaxNode;
}

const ASSERTIONS: readonly string[] = ['assert', 'fail', 'maybe', 'unreachable'];

/** An ignorer of StrykerJS: why nothing under `path` is changed, or undefined. */
export function shouldIgnore(path: { readonly node: object }): string | undefined {
  const node = path.node as SyntaxNode;
  // The whole statement, too: a change of its own takes calls away.
  const call = node.type === 'ExpressionStatement' ? node.expression : node;
  return call !== undefined && isAssertion(call) ? 'an assertion' : undefined;
}

function isAssertion({ type, callee }: SyntaxNode): boolean {
  if (type !== 'CallExpression' || callee?.type !== 'Identifier') return false;
  return ASSERTIONS.includes(callee.name ?? '');
}
