import type { ProfileName } from '../../limits/profile.ts';

/**
 * Where kernels differ in passthrough alone, as named behaviours beside those of the profile. They
 * stand here because no other layer reads them.
 */
export interface PassthroughRules {
  /**
   * When limits are asked: each page as it is added, in whole sectors or in bytes, or the whole bio
   * when it is appended to its request.
   */
  readonly build: 'sectors' | 'bytes' | 'append';
  /** Own pages: one by one, adjacent by luck, or chunks that satisfy the limits by construction. */
  readonly ownPages: 'single' | 'chunks';
  /** What cannot be mapped only because it would have to be split: -EINVAL, or a copy. */
  readonly wouldSplit: 'error' | 'copy';
  /**
   * How a copied read finds its memory at the end. 'pinned': by pages pinned at the call, and never
   * more than was transferred. 'address': through the address space of who asks, whatever the
   * device did; without one it is -EINTR. A pin costs a copied read of single pages 20 to 50 %
   * (64 KiB: 5.3 µs against 4.2; `npm run bench -- map-or-copy`), and mapping a third of either.
   */
  readonly copyBack: 'pinned' | 'address';
  /**
   * User metadata: always copied through one linear buffer; mapped if it may be, else that buffer,
   * and no dirty pages; or the rules of data.
   */
  readonly metadata: 'copied' | 'linear' | 'as-data';
}

/** This library. */
const BIOVEC: PassthroughRules = Object.freeze({
  build: 'append',
  ownPages: 'chunks',
  wouldSplit: 'copy',
  copyBack: 'pinned',
  metadata: 'as-data',
});

const LINUX_6_12: PassthroughRules = Object.freeze({
  build: 'bytes',
  ownPages: 'single',
  wouldSplit: 'error',
  copyBack: 'address',
  metadata: 'linear',
});

export const PASSTHROUGH_RULES: Readonly<Record<ProfileName, PassthroughRules>> = Object.freeze({
  biovec: BIOVEC,
  'linux-6.1': Object.freeze({ ...LINUX_6_12, build: 'sectors', metadata: 'copied' }),
  'linux-6.12': LINUX_6_12,
});
