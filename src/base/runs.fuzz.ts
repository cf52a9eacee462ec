/** Runs of each property: 1,000; `npm run test:nightly` asks for more with BIOVEC_RUNS. */
export const RUNS = { numRuns: Number(process.env['BIOVEC_RUNS'] ?? 1000) };
