/** What a run of the command ends with; 128 + number of a signal when one stopped it. */
export const ExitCode = { OK: 0, FAILED: 1, USAGE: 2 } as const;
export type ExitCode = number;

/** The command line asks for something that does not exist or does not go together: exit 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
