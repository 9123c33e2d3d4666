import { describe, expect, it } from 'vitest';
import { type Condition, pendingStatus } from '../../../src/api/schema.ts';
import { kubeTime, nextConditions, progressConditions, summarize } from '../../../src/decide/status.ts';
import type { Verdict } from '../../../src/model/verdict.ts';

const NOW = '2026-01-02T03:04:05Z';
const EARLIER = '2026-01-01T00:00:00Z';

const ok: Verdict = { status: 'True', reason: 'Ready', message: 'fine' };
const down: Verdict = { status: 'Unknown', reason: 'GatewayUnavailable', message: 'no answer' };
const taken: Verdict = { status: 'False', reason: 'IdTaken', message: 'a/b has it' };

const earlier = (status: Condition['status'], change: Partial<Condition> = {}): Condition => ({
  type: 'Ready',
  status,
  reason: 'Ready',
  message: 'fine',
  lastTransitionTime: EARLIER,
  ...change,
});

describe('nextConditions', () => {
  it.each<[string, readonly Condition[] | undefined, Verdict, string]>([
    ['uses the current time for a new condition', undefined, ok, NOW],
    ['ignores conditions of other types', [earlier('True', { type: 'Accepted' })], ok, NOW],
    ['keeps the time if the status is unchanged', [earlier('True')], ok, EARLIER],
    [
      'keeps the time if only the reason and message change',
      [earlier('True')],
      { ...ok, reason: 'NoReadyEndpoints', message: 'x' },
      EARLIER,
    ],
    ['uses the current time if the status changes', [earlier('True')], down, NOW],
    ['uses the current time if the status changes from Unknown to False', [earlier('Unknown')], taken, NOW],
    [
      'replaces the placeholder time that the CRD sets in new objects',
      [...pendingStatus.conditions],
      down,
      NOW,
    ],
  ])('%s', (_, previous, verdict, time) => {
    expect(nextConditions(previous, [['Ready', verdict]], 7, () => NOW)).toEqual([
      { type: 'Ready', ...verdict, observedGeneration: 7, lastTransitionTime: time },
    ]);
  });

  it.each<[string, string, string]>([
    ['unchanged', 'x'.repeat(1024), 'x'.repeat(1024)],
    ['shortened', 'x'.repeat(1025), `${'x'.repeat(1021)}...`],
    ['shortened between characters', '\u{1f600}'.repeat(40_000), `${'\u{1f600}'.repeat(510)}...`],
    ['three bytes per character', '\u4e2d'.repeat(40_000), `${'\u4e2d'.repeat(1021)}...`],
  ])('has a message of at most 1,024 characters, far below 32,768 bytes: %s', (_, message, expected) => {
    const [condition] = nextConditions(undefined, [['Ready', { ...down, message }]], 1, () => NOW);
    expect(condition?.message).toBe(expected);
    expect(condition?.message.isWellFormed()).toBe(true);
    expect(Buffer.byteLength(condition?.message ?? '')).toBeLessThanOrEqual(32_768);
  });

  it('keeps the order of the verdicts and drops conditions without a verdict', () => {
    const previous = [earlier('True', { type: 'Stalled' }), earlier('True')];
    const next = nextConditions(
      previous,
      [
        ['Ready', ok],
        ['Accepted', ok],
      ],
      1,
      () => NOW,
    );
    expect(next.map(({ type }) => type)).toEqual(['Ready', 'Accepted']);
  });

  it('shortens a message to 1024 characters', () => {
    const [exact] = nextConditions(
      undefined,
      [['Ready', { ...ok, message: 'x'.repeat(1024) }]],
      1,
      () => NOW,
    );
    const [cut] = nextConditions(undefined, [['Ready', { ...ok, message: 'x'.repeat(1025) }]], 1, () => NOW);
    expect(exact?.message).toBe('x'.repeat(1024));
    expect(cut?.message).toBe(`${'x'.repeat(1021)}...`);
  });
});

describe('progressConditions', () => {
  it.each<[Verdict, string | undefined]>([
    [ok, undefined],
    [{ ...ok, reason: 'NoReadyEndpoints' }, undefined],
    [down, 'Reconciling'],
    [{ status: 'Unknown', reason: 'Pending', message: '' }, 'Reconciling'],
    [{ status: 'False', reason: 'ServiceNotFound', message: '' }, 'Reconciling'],
    [{ status: 'False', reason: 'Unauthorized', message: '' }, 'Reconciling'],
    [taken, 'Stalled'],
    [{ status: 'False', reason: 'Rejected', message: '' }, 'Stalled'],
    [{ status: 'False', reason: 'NotOwned', message: '' }, 'Stalled'],
    [{ status: 'False', reason: 'NamespaceNotAllowed', message: '' }, 'Stalled'],
  ])('%o: %s', (ready, type) => {
    const { reason, message } = ready;
    expect(progressConditions(ready)).toEqual(
      type === undefined ? [] : [[type, { status: 'True', reason, message }]],
    );
  });
});

describe('summarize', () => {
  it.each<[string, readonly Verdict[], Verdict]>([
    ['is the whole if all parts are True', [ok, ok], { ...ok, reason: 'NoWeight' }],
    ['is the first part that is not True', [ok, down, taken], down],
    ['treats Unknown like False', [taken, down], taken],
  ])('%s', (_, parts, expected) => {
    expect(summarize(parts, { ...ok, reason: 'NoWeight' })).toEqual(expected);
  });
});

describe('kubeTime', () => {
  it('rounds down to whole seconds', () => {
    expect(kubeTime(Date.UTC(2026, 0, 2, 3, 4, 5, 999))).toBe(NOW);
  });
});
