import { type Command, Option } from 'commander';
import { parseBytes, parseCount } from '../arguments.ts';
import type { ExitCode } from '../exit-code.ts';
import type { PiDumpFlags } from './pi-dump.ts';
import { type PiOutput, parseAppTag, parseBlock, parseChecks } from './pi-format.ts';
import type { PiGenerateFlags } from './pi-generate.ts';
import type { PiVerifyFlags } from './pi-verify.ts';

const EXAMPLE = `
Example: biovec pi generate disk.img disk.pi && biovec pi verify disk.img disk.pi
Exit codes: 0 all blocks are good, 1 bad blocks or a failure, 2 bad usage.`;

/** Adds `biovec pi generate|verify|dump` to the command line. `out`: default standard output. */
export function addPi(program: Command, ended: (code: ExitCode) => void, out?: PiOutput): void {
  const pi = program
    .command('pi')
    .description('protection information (T10, NVMe) of images: make, check and show tuples')
    .addHelpText('after', EXAMPLE);
  withFormat(pi.command('generate'))
    .description('make the tuples of an image')
    .argument('<image>', 'file or block device')
    .argument('<meta>', 'where the records go; with --interleaved data and records in turn')
    .option('--seed <block>', 'ref tag of the first block', parseBlock, 0)
    .option('--app-tag <tag>', 'app tag of every tuple', parseAppTag, 0)
    .option('--json', 'print the result as one JSON object')
    .addOption(progressOption())
    .action(async (image: string, meta: string, flags: PiGenerateFlags) => {
      const { runPiGenerate } = await import('./pi-generate.ts');
      ended(await runPiGenerate(image, meta, flags, out));
    });
  withFormat(pi.command('verify'))
    .description('check an image against its tuples and list the bad blocks')
    .argument('<image>', 'file or block device')
    .argument('[meta]', 'the records; none with --interleaved')
    .option('--seed <block>', 'ref tag of the first block', parseBlock, 0)
    .addOption(
      new Option('--check <tags>', 'which tags: guard,ref,app')
        .argParser(parseChecks)
        .default(parseChecks('guard,ref'), 'guard,ref'),
    )
    .option('--app-tag <tag>', 'app tag that --check app expects', parseAppTag, 0)
    .option('--app-mask <bits>', 'bits of the app tag that count', parseAppTag, 0xffff)
    .option('--list <count>', 'bad blocks to name; all are counted', parseCount, 100)
    .option('--json', 'print the result as one JSON object')
    .addOption(progressOption())
    .action(async (image: string, meta: string | undefined, flags: PiVerifyFlags) => {
      const { runPiVerify } = await import('./pi-verify.ts');
      ended(await runPiVerify(image, meta, flags, out));
    });
  withFormat(pi.command('dump'))
    .description('print tuples')
    .argument('<meta>', 'the records; with --interleaved the image that has them inside')
    .option('--start <block>', 'first block', parseBlock, 0)
    .option('--count <blocks>', 'how many', parseCount)
    .option('--json', 'print one JSON object a line')
    .action(async (meta: string, flags: PiDumpFlags) => {
      const { runPiDump } = await import('./pi-dump.ts');
      ended(await runPiDump(meta, flags, out));
    });
}

function withFormat(command: Command): Command {
  return command
    .addOption(
      new Option('--format <guard>', 'guard of a tuple')
        .choices(['crc16', 'crc64', 'ip'])
        .default('crc16'),
    )
    .addOption(
      new Option('--type <number>', '1 and 2: the ref tag counts with the block; 3: it does not')
        .choices(['1', '2', '3'])
        .default('1'),
    )
    .option('--interval <bytes>', 'data under one tuple', parseBytes, 512)
    .option('--metadata-size <bytes>', 'bytes of a record (default: up to its tuple)', parseBytes)
    .option('--offset <bytes>', 'where the tuple starts in its record', parseBytes, 0)
    .option('--interleaved', 'each interval has its record behind it (520-byte blocks)');
}

function progressOption(): Option {
  return new Option('--progress <how>', 'on standard error: a bar on a terminal, JSON, none')
    .choices(['auto', 'json', 'none'])
    .default('auto');
}
