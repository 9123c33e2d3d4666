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
    ['a first condition begins now', undefined, ok, NOW],
    ['one of another type says nothing', [earlier('True', { type: 'Accepted' })], ok, NOW],
    ['the same status keeps its time', [earlier('True')], ok, EARLIER],
    [
      'another reason and message keep it too',
      [earlier('True')],
      { ...ok, reason: 'NoReadyEndpoints', message: 'x' },
      EARLIER,
    ],
    ['another status begins now', [earlier('True')], down, NOW],
    ['from Unknown to False begins now', [earlier('Unknown')], taken, NOW],
    ['what the CRD gave a new object never happened', [...pendingStatus.conditions], down, NOW],
  ])('%s', (_, previous, verdict, time) => {
    expect(nextConditions(previous, [['Ready', verdict]], 7, () => NOW)).toEqual([
      { type: 'Ready', ...verdict, observedGeneration: 7, lastTransitionTime: time },
    ]);
  });

  it.each<[string, string, string]>([
    ['as it is', 'x'.repeat(1024), 'x'.repeat(1024)],
    ['cut', 'x'.repeat(1025), `${'x'.repeat(1021)}...`],
    ['cut between characters', '\u{1f600}'.repeat(40_000), `${'\u{1f600}'.repeat(510)}...`],
    ['of three bytes a character', '\u4e2d'.repeat(40_000), `${'\u4e2d'.repeat(1021)}...`],
  ])('has a message of at most 1,024 characters, far below 32,768 bytes: %s', (_, message, expected) => {
    const [condition] = nextConditions(undefined, [['Ready', { ...down, message }]], 1, () => NOW);
    expect(condition?.message).toBe(expected);
    expect(condition?.message.isWellFormed()).toBe(true);
    expect(Buffer.byteLength(condition?.message ?? '')).toBeLessThanOrEqual(32_768);
  });

  it('keeps the order of the verdicts and drops what is no verdict any more', () => {
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

  it('cuts a message off at 1024 characters', () => {
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
    ['the whole where every part is True', [ok, ok], { ...ok, reason: 'NoWeight' }],
    ['the first part that is not', [ok, down, taken], down],
    ['an unknown part counts as much as a false one', [taken, down], taken],
  ])('%s', (_, parts, expected) => {
    expect(summarize(parts, { ...ok, reason: 'NoWeight' })).toEqual(expected);
  });
});

describe('kubeTime', () => {
  it('has whole seconds and is never ahead of the time', () => {
    expect(kubeTime(Date.UTC(2026, 0, 2, 3, 4, 5, 999))).toBe(NOW);
  });
});
