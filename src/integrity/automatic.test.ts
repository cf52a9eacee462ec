import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../bio/bio-op.ts';
import { AutoAction, automaticAction, automaticChecks } from './automatic.ts';
import {
  IntegrityFlag,
  type IntegrityInput,
  NO_INTEGRITY,
  validateIntegrity,
} from './integrity-profile.ts';
import { CheckFlag } from './verify.ts';

const { NOVERIFY, NOGENERATE, REF_TAG } = IntegrityFlag;
const { BUFFER, CHECK, ZERO } = AutoAction;
const { READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES } = BioOp;
const of = (input: IntegrityInput) => validateIntegrity({ csum: 'crc16', ...input }, 512);

/** Reference 7.3, row by row: op, sectors, flags, action with 8 bytes, action with 64. */
const TABLE: readonly (readonly [BioOp, number, number, number, number])[] = [
  [READ, 8, NOVERIFY, 0, BUFFER],
  [READ, 8, 0, BUFFER | CHECK, BUFFER | CHECK],
  [READ, 8, NOGENERATE, BUFFER | CHECK, BUFFER | CHECK],
  [WRITE, 0, 0, 0, 0],
  [WRITE, 0, NOGENERATE, 0, 0],
  [WRITE, 8, NOGENERATE, 0, BUFFER | ZERO],
  [WRITE, 8, 0, BUFFER | CHECK, BUFFER | CHECK | ZERO],
  [WRITE, 8, NOVERIFY, BUFFER | CHECK, BUFFER | CHECK | ZERO],
  [FLUSH, 0, 0, 0, 0],
  [DISCARD, 8, 0, 0, 0],
  [WRITE_ZEROES, 8, 0, 0, 0],
];

test('the table of automatic actions', () => {
  for (const [op, sectors, flags, equal, larger] of TABLE) {
    const row = `op ${op}, ${sectors} sectors, flags ${flags}`;
    assert.equal(automaticAction(op, sectors, of({ flags })), equal, row);
    assert.equal(automaticAction(op, sectors, of({ flags, metadata_size: 64 })), larger, row);
    assert.equal(automaticAction(op, sectors, NO_INTEGRITY), 0, row);
  }
});

test('the host checks the guard if there is one, the ref tag if it counts, no app tag', () => {
  assert.equal(automaticChecks(of({})), CheckFlag.GUARD);
  assert.equal(automaticChecks(of({ flags: REF_TAG })), CheckFlag.GUARD | CheckFlag.REF);
  assert.equal(automaticChecks(validateIntegrity({ metadata_size: 64 }, 512)), 0);
});
