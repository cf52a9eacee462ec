/** Tells on standard error how a row gets on: one line that is written over, on a terminal only. */
export function progressOf(name: string): (text: string) => void {
  return (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${name}: ${text}`);
  };
}

/** Before a line of another kind. */
export function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
}
