import { type Command, Option } from 'commander';
import { parseBytes, parseCount, parseName } from '../arguments.ts';
import type { ExitCode } from '../exit-code.ts';
import type { ProtectFlags } from './protect-command.ts';
import type { VerifyFlags } from './verify-command.ts';

const PROTECT_HELP = `
The tuples go to IMAGE.pi; the image stays as it is and can be used as protect:IMAGE from then on.
What is written to it by another way is bad afterwards. docs/protect.md says what is found.`;
const VERIFY_HELP = `
Exit codes: 0 all blocks are good, 1 bad blocks or a failure, 2 bad usage.`;

/** Adds `biovec protect` and `biovec verify` to the command line. */
export function addProtect(program: Command, ended: (code: ExitCode) => void): void {
  program
    .command('protect')
    .description('make tuples for an image, so that damage to it is found')
    .argument('<image>', 'file or block device')
    .option('--store <file>', 'where the tuples go (default: IMAGE.pi)', parseName)
    .option('--again', 'there are tuples already: make them anew')
    .addOption(
      new Option('--guard <guard>', 'crc64: tuples of 16 bytes, crc16: of 8').choices([
        'crc64',
        'crc16',
      ]),
    )
    .option(
      '--interval <bytes>',
      'data under one tuple (default: 4096, or 512 if the size is no multiple)',
      parseBytes,
    )
    .option('--json', 'print the result as one JSON object')
    .addOption(progressOption())
    .addHelpText('after', PROTECT_HELP)
    .action(async (image: string, flags: ProtectFlags) => {
      const { runProtect } = await import('./protect-command.ts');
      ended(await runProtect(image, flags));
    });
  program
    .command('verify')
    .description('compare every block of a protected image with its tuple')
    .argument('<image>', 'file or block device')
    .option('--store <file>', 'where the tuples are (default: IMAGE.pi)', parseName)
    .option('--list <count>', 'bad blocks to name; all are counted', parseCount, 100)
    .option('--json', 'print the result as one JSON object')
    .addOption(progressOption())
    .addHelpText('after', VERIFY_HELP)
    .action(async (image: string, flags: VerifyFlags) => {
      const { runVerify } = await import('./verify-command.ts');
      ended(await runVerify(image, flags));
    });
}

function progressOption(): Option {
  return new Option('--progress <how>', 'on standard error: a bar, lines of JSON, or none')
    .choices(['auto', 'json', 'none'])
    .default('auto');
}
