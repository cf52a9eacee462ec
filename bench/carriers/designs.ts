import { FlagPerBio } from './bio-flag.ts';
import { BioOfSg } from './bio-of-sg.ts';
import { BvecsWithMiter } from './bvec-miter.ts';
import type { Carrier, CarrierSetup } from './carrier.ts';
import { Columns } from './columns.ts';
import { FolioBvecs } from './folio-bvecs.ts';
import { OnePageBios } from './one-page-bios.ts';
import { PageArrays } from './page-arrays.ts';
import { PageCallback } from './page-callback.ts';
import { SgBvecSg } from './sg-bvec-sg.ts';
import { PFN_FLAGS, POINTER_BIT, TaggedPages } from './tagged-pages.ts';

export interface Design {
  /** 'sg-bvec-sg' … */
  readonly name: string;
  /** As in a legend. */
  readonly title: string;
  /** The forms that the description has, from the page table to the device. */
  readonly forms: readonly string[];
  make(setup: CarrierSetup): Carrier;
}

const FRAMES_BVECS_RANGES = ['frames', 'bvecs', 'ranges'] as const;

/** In the order in which they were argued about, this project last. */
export const DESIGNS: readonly Design[] = [
  {
    name: 'sg-bvec-sg',
    title: 'scatterlist, bvecs, scatterlist',
    forms: ['frames', 'scatterlist', 'bvecs', 'scatterlist', 'ranges'],
    make: (setup) => new SgBvecSg(setup),
  },
  {
    name: 'bvec-miter',
    title: '2009, option 1: bvecs with a miter',
    forms: ['frames', 'bvecs', 'scatterlist', 'ranges'],
    make: (setup) => new BvecsWithMiter(setup),
  },
  {
    name: 'bio-of-sg',
    title: '2009, option 2: a bio points at the scatterlist',
    forms: ['frames', 'scatterlist', 'ranges'],
    make: (setup) => new BioOfSg(setup),
  },
  ...[16, 64, 256].map((batch) => ({
    name: `page-arrays-${batch}`,
    title: `page arrays of ${batch}`,
    forms: FRAMES_BVECS_RANGES,
    make: (setup: CarrierSetup) => new PageArrays(setup, batch),
  })),
  {
    name: 'page-callback',
    title: '2017: a callback for each page',
    forms: FRAMES_BVECS_RANGES,
    make: (setup) => new PageCallback(setup),
  },
  {
    name: 'folio-bvecs',
    title: '2018: GUP fills bvecs, a folio at a time',
    forms: ['bvecs', 'ranges'],
    make: (setup) => new FolioBvecs(setup),
  },
  {
    name: 'one-page-bios',
    title: 'a bio a page, left to merging',
    forms: ['frames', 'bios', 'ranges'],
    make: (setup) => new OnePageBios(setup),
  },
  {
    name: 'pfn-flags',
    title: '2019: pfn with flag bits',
    forms: FRAMES_BVECS_RANGES,
    make: (setup) => new TaggedPages(setup, PFN_FLAGS),
  },
  {
    name: 'pointer-bit',
    title: '2019: low bit of the page pointer',
    forms: FRAMES_BVECS_RANGES,
    make: (setup) => new TaggedPages(setup, POINTER_BIT),
  },
  {
    name: 'bio-flag',
    title: '2019: a flag per bio',
    forms: FRAMES_BVECS_RANGES,
    make: (setup) => new FlagPerBio(setup),
  },
  {
    name: 'pin-all',
    title: '2019: a pin on every page',
    forms: FRAMES_BVECS_RANGES,
    make: (setup) => new PageArrays(setup, 256),
  },
  {
    name: 'columns',
    title: "this project's columns",
    forms: ['rows', 'ranges'],
    make: (setup) => new Columns(setup),
  },
];

/** Times that the description changes its form. */
export function conversionsOf({ forms }: Design): number {
  return forms.length - 1;
}
