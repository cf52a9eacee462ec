/** Runs of a property: 1,000, and `BIOVEC_RUNS=10` asks for ten times as many. */
export const RUNS = { numRuns: 1000 * Number(process.env['BIOVEC_RUNS'] ?? 1) };
