// Blanks comments and strings of TypeScript, so that the checks do not trip over prose. This is no
// parser: it knows comments, strings, templates and regular expressions, which is all they need.

/** `text` with every comment replaced by spaces; line breaks and offsets stay. */
export function maskComments(text: string): string {
  return mask(text, false);
}

/** As maskComments, and the content of strings, templates and regular expressions goes too. */
export function maskStrings(text: string): string {
  return mask(text, true);
}

// Group 1: a comment. Group 2: a string without substitutions.
const TOKEN =
  /(\/\/[^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*")|[`/{}]/g;
const REGEX = /\/(?![*/])(?:[^[/\\\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//y;
/** A `/` after one of these starts a regular expression; after a value it divides. */
const BEFORE_REGEX = /(?:^|[=([{},;:!&|?+*%^~<>-]|\b(?:return|typeof|case|in|of|do|else|void))\s*$/;

function mask(text: string, withStrings: boolean): string {
  let out = '';
  let at = 0;
  // One entry for each `${` that is open: the number of braces open inside it.
  const substitutions: number[] = [];
  const keep = (end: number): void => {
    out += text.slice(at, end);
    at = end;
  };
  const blankTo = (end: number): void => {
    out += blank(text.slice(at, end));
    at = end;
  };
  const blankInside = (end: number): void => {
    keep(at + 1);
    if (withStrings) blankTo(end - 1);
    keep(end);
  };
  // From inside a template to its end, or into its next substitution.
  const passTemplate = (): void => {
    const end = templateEnd(text, at);
    if (withStrings) blankTo(end);
    keep(end);
    if (text.startsWith('${', end)) {
      substitutions.push(0);
      keep(end + 2);
    } else {
      keep(Math.min(end + 1, text.length));
    }
  };

  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) break;
    const [token, comment, string] = match;
    keep(match.index);
    const depth = substitutions.length - 1;
    if (comment !== undefined) {
      blankTo(at + token.length);
    } else if (string !== undefined) {
      blankInside(at + token.length);
    } else if (token === '`') {
      keep(at + 1);
      passTemplate();
    } else if (token === '/') {
      REGEX.lastIndex = at;
      const regex = BEFORE_REGEX.test(out.slice(-40)) ? REGEX.exec(text) : null;
      if (regex === null) keep(at + 1);
      else blankInside(at + regex[0].length);
    } else if (token === '}' && substitutions[depth] === 0) {
      substitutions.pop();
      keep(at + 1);
      passTemplate();
    } else {
      if (depth >= 0) substitutions[depth] = substitutions[depth] + (token === '{' ? 1 : -1);
      keep(at + 1);
    }
  }
  keep(text.length);
  return out;
}

/** The offset of the closing backtick or of the next `${` at or after `from`. */
function templateEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '`' || text.startsWith('${', i)) return i;
  }
  return text.length;
}

function blank(text: string): string {
  return text.replace(/[^\n]/g, ' ');
}
