import { expect, it } from 'vitest';
import { registryStatus } from '../../../src/decide/build-status.ts';
import type { RegistryOutcome } from '../../../src/model/outcome.ts';

const NOON = Date.parse('2026-01-01T12:00:00Z');
const fine = { status: 'True', reason: 'Ready', message: 'good' } as const;
const outcome = (more: Partial<RegistryOutcome>): RegistryOutcome => ({
  reachable: fine,
  authorized: fine,
  ready: fine,
  version: '1.0.0',
  api: undefined,
  users: 1,
  followedServices: 1,
  lastCompleteAnswerAt: NOON,
  ...more,
});
const context = { previous: undefined, generation: 1, now: () => '2026-01-01T13:00:00Z' };
const next = (seconds: number, more: Partial<RegistryOutcome> = {}) => {
  const previous = registryStatus(context, outcome({}));
  const at = NOON + seconds * 1000;
  return registryStatus({ ...context, previous }, outcome({ lastCompleteAnswerAt: at, ...more }));
};

it('shows a later answer of a ready registry only every five minutes', () => {
  expect(next(0).lastCompleteAnswerTime).toBe('2026-01-01T12:00:00Z');
  expect(next(299)).toEqual(next(0));
  expect(next(300).lastCompleteAnswerTime).toBe('2026-01-01T12:05:00Z');
});

it('shows the exact time of the last answer of a registry that is not ready', () => {
  const ready = { status: 'False', reason: 'RegistryUnavailable', message: 'no answer' } as const;
  expect(next(17, { ready }).lastCompleteAnswerTime).toBe('2026-01-01T12:00:17Z');
});

it('keeps the time of the last answer over a restart of the operator', () => {
  expect(next(0, { lastCompleteAnswerAt: undefined }).lastCompleteAnswerTime).toBe('2026-01-01T12:00:00Z');
});

it('shortens a version to the limit of the schema', () => {
  expect(registryStatus(context, outcome({ version: 'x'.repeat(500) })).version).toHaveLength(64);
});
