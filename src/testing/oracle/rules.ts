import type { Field } from './compare.ts';
import type { MetadataField } from './compare-metadata.ts';
import type { CaseRecord, DeviceRecord } from './schema.ts';

/** What a rule may look at: the input of a case, never what the kernel made of it. */
export interface RuleInput {
  readonly one: CaseRecord;
  readonly device: DeviceRecord;
  /** As the record names it: '6.1.0-56-amd64'. */
  readonly kernel: string;
  /** The limits leave less than a logical block at the front of a bio of this case. */
  readonly cutsBelowBlock: boolean;
  /** A protection interval lies in several pages or vectors, or came by such a write. */
  readonly straddles: boolean;
}

/** A difference from the kernel that is meant. */
export interface DeviationRule {
  readonly name: string;
  readonly reason: string;
  readonly excuses: readonly (Field | MetadataField | 'answer')[];
  applies(input: RuleInput): boolean;
}

export const RULES: readonly DeviationRule[] = [
  {
    name: 'sub-block-cut',
    reason:
      'the limits leave less than one block at the front of a bio: Linux 6.1 hits a BUG, 6.12 ' +
      'sends an oversized request; here the bio fails with EINVAL or is split right',
    excuses: ['result', 'bios', 'splits', 'merges', 'requests'],
    applies: ({ cutsBelowBlock }) => cutsBelowBlock,
  },
  {
    name: 'bio-based-driver',
    reason:
      'null_blk in bio mode (before Linux 6.9) takes bios as they are, with no split and no ' +
      'request; here every device is reached by requests',
    excuses: ['splits', 'merges', 'requests'],
    applies: ({ device, kernel }) =>
      /\bqueue_mode=0\b/.test(device.spec) && isBefore(kernel, { major: 6, minor: 9 }),
  },
  {
    name: 'straddled-interval',
    reason:
      'an interval lies in several pages: the kernels take each for whole intervals, so guards ' +
      'are of other memory; here a guard is that of its data, however it is cut',
    excuses: ['result', 'tuples', 'driver tuples', 'answer'],
    applies: (input) => input.straddles,
  },
];

/** The rule that excuses all of `fields`, or null. */
export function ruleFor(fields: readonly string[], input: RuleInput): DeviationRule | null {
  const fits = (rule: DeviationRule): boolean =>
    fields.every((field) => (rule.excuses as readonly string[]).includes(field));
  return RULES.find((rule) => fits(rule) && rule.applies(input)) ?? null;
}

function isBefore(
  kernel: string,
  limit: { readonly major: number; readonly minor: number },
): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.+-]/).map(Number);
  return major < limit.major || (major === limit.major && minor < limit.minor);
}
