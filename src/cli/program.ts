import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { BlockError } from '../base/block-error.ts';
import { parseBytes, parseCount, parseName, parseRanges } from './arguments.ts';
import type { CopyFlags } from './copy/copy-command.ts';
import { ExitCode, UsageError } from './exit-code.ts';
import type { ExplainFlags } from './explain/explain-command.ts';
import type { HoldsFlags } from './holds/holds-command.ts';
import type { InfoFlags } from './info/info-command.ts';
import { addPi } from './pi/pi-program.ts';
import { addProtect } from './protect/protect-program.ts';

const TARGETS = `
A target is a file, a block device, ram:SIZE, null:SIZE or, for copy, - (standard input, output);
protect:TARGET is one with tuples beside it (biovec protect).
Sizes are powers of 1024: 4096, 64K, 1.5M, 1G.
Exit codes: 0 done, 1 failed, 2 bad usage; stopped: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.`;

/** Runs one command line and sets the exit code of the process. */
export async function runProgram(args: readonly string[]): Promise<void> {
  let code: ExitCode = ExitCode.OK;
  process.stdout.on('error', leave);
  process.stderr.on('error', () => {}); // Progress that nobody can read is no reason to stop.
  const program = makeProgram((result) => {
    code = result;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    code = exitCodeOf(error);
  }
  process.exitCode = code;
}

/** Without a word when the reader has had enough (`biovec explain … | head`). */
function leave(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') process.stderr.write(`biovec: standard output: ${error.message}\n`);
  process.exit(ExitCode.FAILED);
}

type Ended = (code: ExitCode) => void;

function makeProgram(ended: Ended): Command {
  const program = new Command('biovec')
    .description('Block I/O from program memory to disk and back, every step of it visible.')
    .version(version())
    .addHelpText('after', TARGETS)
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'biovec: ')) })
    .showHelpAfterError('(biovec help COMMAND shows what there is)')
    .exitOverride();
  addCopy(program, ended);
  addInfo(program, ended);
  addExplain(program, ended);
  addHolds(program, ended);
  addPi(program, ended);
  addProtect(program, ended);
  program
    .command('demo')
    .description('show the main job on a small disk image in a temporary folder')
    .action(async () => {
      const { runDemo } = await import('./demo/demo.ts');
      ended(await runDemo());
    });
  return program;
}

function addCopy(program: Command, ended: Ended): void {
  program
    .command('copy')
    .description('copy one target to another')
    .argument('<source>', 'file, block device, ram:SIZE, null:SIZE or -')
    .argument('<destination>', 'the same; a file is made, or emptied first')
    .option('--request-size <size>', 'bytes of one request (default: 4M, with - 1M)', parseBytes)
    .option('--requests <count>', 'requests in flight (default: 3, of 1M and others 8)', parseCount)
    .option('--direct', 'past the page cache, with O_DIRECT')
    .addOption(
      new Option('--sparse <when>', 'holes: those of the source, all blocks of zeros, or none')
        .choices(['auto', 'always', 'never'])
        .default('auto'),
    )
    .option('--flush', 'end when everything is on the medium')
    .option('--protect', 'keep tuples beside the destination: in DESTINATION.pi')
    .option('--store <file>', 'with --protect: keep them in this file', parseName)
    .option('--verify', 'read the destination back and compare')
    .option('--stats', 'print what was mapped, copied, split and merged')
    .option('--trace <file>', 'write every step of the path, one JSON object a line', parseName)
    .option('--json', 'print the result as one JSON object')
    .addOption(
      new Option('--progress <how>', 'on standard error: a bar on a terminal, lines of JSON, none')
        .choices(['auto', 'json', 'none'])
        .default('auto'),
    )
    .action(async (source: string, destination: string, flags: CopyFlags) => {
      const { runCopy } = await import('./copy/copy-command.ts');
      ended(await runCopy(source, destination, flags));
    });
}

function addInfo(program: Command, ended: Ended): void {
  program
    .command('info')
    .description('what a target is, what it can take, and how that was found')
    .argument('<target>', 'file, block device, ram:SIZE or null:SIZE')
    .option('--direct', 'as O_DIRECT has it')
    .option('--engines', 'print the engines too: which there are and why')
    .option('--json', 'print one JSON object')
    .action(async (target: string, flags: InfoFlags) => {
      const { runInfo } = await import('./info/info-command.ts');
      ended(await runInfo(target, flags));
    });
}

function addExplain(program: Command, ended: Ended): void {
  program
    .command('explain')
    .description('run one transfer through the real layers and print every step with its reason')
    .argument('<op>', 'read or write')
    .requiredOption('--iov <ranges>', 'memory, as ADDR+LEN[,ADDR+LEN...]', parseRanges)
    .requiredOption('--limits <preset>', 'nvme, virtio, sata, 4kn, file, unlimited or a JSON file')
    .option('--profile <name>', 'biovec, linux-6.1 or linux-6.12', 'biovec')
    .option('--offset <bytes>', 'where on the device', parseBytes, 0)
    .addOption(
      new Option('--copy <policy>', 'map where possible, never copy, or always copy')
        .choices(['auto', 'never', 'always'])
        .default('auto'),
    )
    .option('--contiguous', 'pages that are neighbours in memory are neighbours in the machine')
    .addOption(
      new Option('--controller <pointers>', 'an NVMe controller: show what it sees').choices([
        'prp',
        'sgl',
      ]),
    )
    .addOption(
      new Option(
        '--dma <how>',
        'of the controller: how it reaches memory (default: iommu)',
      ).choices(['direct', 'iommu', 'untrusted', 'bounce']),
    )
    .option('--passthrough', 'one command of the controller, never split')
    .option('--meta <range>', 'metadata of that command, as ADDR+LEN', parseRanges)
    .option('--pi <format>', 'a device with tuples: crc16, crc64, ip; crc64,interval=512,type=1')
    .option('--json', 'print the events, one JSON object a line')
    .addHelpText(
      'after',
      '\nExamples: biovec explain read --iov 0x10000+64K,0x30200+4K --limits nvme' +
        '\n          biovec explain write --iov 1M+64K --limits nvme --controller prp --dma bounce',
    )
    .action(async (op: string, flags: ExplainFlags) => {
      const { runExplain } = await import('./explain/explain-command.ts');
      ended(await runExplain(op, flags));
    });
}

function addHolds(program: Command, ended: Ended): void {
  program
    .command('holds')
    .description('who holds which page, how, by which call, and for how long')
    .argument('<subject>', 'process id, its socket, or a file that copy --trace wrote', parseName)
    .option('--at <line>', 'of a recorded run: what was held after that line', parseCount)
    .option('--json', 'print one JSON value')
    .addHelpText(
      'after',
      '\nA program can be asked when it was started with BIOVEC_HOLDS=1 (or =SOCKET).' +
        '\nExit code 1: a pinned page has no owner, or was never released.',
    )
    .action(async (subject: string, flags: HoldsFlags) => {
      const { runHolds } = await import('./holds/holds-command.ts');
      ended(await runHolds(subject, flags));
    });
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE; // It has spoken already.
  }
  if (error instanceof UsageError) {
    process.stderr.write(`biovec: ${error.message}\n`);
    return ExitCode.USAGE;
  }
  if (error instanceof BlockError || isSystemError(error)) {
    process.stderr.write(`biovec: ${error.message}\n`);
    return ExitCode.FAILED;
  }
  throw error; // A bug: the stack is what helps.
}

/** What the host refused outside of a target: no temporary folder, a record that is a loop. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** `src/cli/` and `dist/cli/` lie equally deep. */
function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
