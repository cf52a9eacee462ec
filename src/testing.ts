// `biovec/testing`: the conformance suite of engines, and the simulator.

export { engineSuite } from './testing/engine-suite.ts';
