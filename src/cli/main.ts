// The command line. What a run needs is imported when it is asked for, and Node keeps what it
// compiled from one run to the next: of a short copy, starting would otherwise be most.

import { enableCompileCache } from 'node:module';

enableCompileCache();
const { runProgram } = await import('./program.ts');
await runProgram(process.argv.slice(2));
