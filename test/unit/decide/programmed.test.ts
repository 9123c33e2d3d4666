import { describe, expect, it } from 'vitest';
import {
  missingPermissionOutcome,
  NOT_WRITTEN,
  observeVerdict,
  PROGRAMMED,
  refusedOutcome,
  unwrittenVerdict,
  writtenVerdict,
} from '../../../src/decide/programmed.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import type { ObservedUpstream } from '../../../src/model/upstream.ts';
import type { Verdict } from '../../../src/model/verdict.ts';

const observed = (content: object): ObservedUpstream => ({
  id: 'shop.web',
  labels: {},
  nodes: [],
  canonical: JSON.stringify(content),
});
const canonical = JSON.stringify({ scheme: 'http', nodes: [] });
const accepted: Verdict = { status: 'True', reason: 'Accepted', message: '' };
const resolvedRefs: Verdict = { status: 'Unknown', reason: 'SourceUnavailable', message: 'not listed' };
const compare = (content: ObservedUpstream | undefined, verdict = accepted) => ({
  accepted: verdict,
  desired: { resolvedRefs },
  observed: content,
  canonical,
});

describe('the Programmed condition', () => {
  it('is True if the gateway returns the written content', () => {
    expect(writtenVerdict(canonical, observed({ scheme: 'http', nodes: [] }))).toBe(PROGRAMMED);
  });

  it('names the fields that the gateway changed', () => {
    expect(writtenVerdict(canonical, observed({ scheme: 'https', nodes: [] }))).toMatchObject({
      status: 'False',
      reason: 'Rejected',
      message: expect.stringContaining('for scheme:'),
    });
    expect(writtenVerdict(canonical, observed({ scheme: 'http', nodes: [1] })).message).toContain(
      'for nodes:',
    );
  });

  it('explains why nothing is written', () => {
    const different = observed({ scheme: 'https', nodes: [] });
    expect(unwrittenVerdict(compare(observed({ scheme: 'http', nodes: [] })))).toBe(PROGRAMMED);
    expect(unwrittenVerdict(compare(different, { ...accepted, status: 'False' }))).toBe(NOT_WRITTEN);
    expect(unwrittenVerdict(compare(undefined))).toMatchObject({ status: 'False', reason: 'Pending' });
    expect(unwrittenVerdict(compare(different)).message).toContain('not listed');
  });

  it('reports the difference with syncPolicy Observe', () => {
    const change = { kind: 'create', desired: {} } as never;
    expect(observeVerdict(change, compare(undefined)).message).toContain(
      'the upstream in the gateway does not exist',
    );
    expect(observeVerdict({ kind: 'none' }, compare(undefined)).reason).toBe('Pending');
  });
});

describe('outcomes without a decision', () => {
  const condition = (type: string, status: string) => ({ type, status, reason: type, message: type });
  const object = {
    status: {
      upstreamId: 'shop.web',
      upstreamCreateTime: '2026-01-01T00:00:00Z',
      conditions: [condition('Accepted', 'True'), condition('Programmed', 'True')],
    },
  } as unknown as GatewayUpstream;

  it('keep the upstream of an object that is not accepted', () => {
    const verdict: Verdict = { status: 'False', reason: 'InvalidSpec', message: 'wrong' };
    expect(refusedOutcome(object, verdict)).toMatchObject({
      accepted: verdict,
      programmed: NOT_WRITTEN,
      ready: verdict,
      upstreamId: 'shop.web',
      createTime: Date.parse('2026-01-01T00:00:00Z') / 1000,
    });
  });

  it('keep every condition except Ready while a permission is missing', () => {
    const ready: Verdict = { status: 'False', reason: 'PermissionMissing', message: 'grant it' };
    expect(missingPermissionOutcome(object, ready)).toMatchObject({
      accepted: { status: 'True', message: 'Accepted' },
      resolvedRefs: { status: 'Unknown', reason: 'PermissionMissing', message: 'grant it' },
      programmed: { status: 'True', message: 'Programmed' },
      ready,
    });
  });
});
