import { describe, expect, it } from 'vitest';
import type { BackendTarget, ResolvedBackend } from '../../../src/decide/backends.ts';
import { buildUpstream } from '../../../src/decide/build-upstream.ts';
import { completeAnswer, lastAnswersOf } from '../../../src/decide/last-answers.ts';
import type { CompleteAnswer, UnknownAnswer } from '../../../src/model/discovered.ts';
import type { Reference } from '../../../src/model/reference.ts';
import { gatewayUpstreamSpec } from '../../support/catalog.ts';

const ref = (service: string): Extract<Reference, { source: 'Registry' }> => ({
  source: 'Registry',
  registry: 'toys',
  service,
  options: {},
});
const known = (...addresses: readonly string[]): CompleteAnswer => ({
  state: 'known',
  preferredFamily: 'IPv4',
  basis: '',
  endpoints: addresses.map((address) => ({
    address,
    family: 'IPv4',
    port: 80,
    ready: true,
    serving: true,
    terminating: false,
  })),
});
const UNKNOWN: UnknownAnswer = {
  state: 'unknown',
  beginning: false,
  message: 'the registry does not answer',
};
const LAST = [{ ref: ref('web'), answer: known('10.0.0.1') }];

describe('completeAnswer', () => {
  it('uses the current answer while it is complete', () => {
    expect(completeAnswer(ref('web'), known('10.0.0.2'), LAST)).toEqual({ answer: known('10.0.0.2') });
  });

  it('uses the last complete answer and marks it outdated while the source is unknown', () => {
    expect(completeAnswer(ref('web'), UNKNOWN, LAST)).toEqual({
      answer: known('10.0.0.1'),
      outdated: UNKNOWN,
    });
  });

  it.each([
    ['another reference', ref('api'), LAST],
    ['no earlier answer', ref('web'), []],
  ])('stays unknown with %s', (_, wanted, last) => {
    expect(completeAnswer(wanted, UNKNOWN, last)).toBe(UNKNOWN);
  });
});

describe('an upstream with one unknown backend', () => {
  const target = (service: string, weight: number): Extract<BackendTarget, { kind: 'registry' }> => ({
    kind: 'registry',
    ref: ref(service),
    choice: { metadata: {}, weights: 'Registry' },
    weight,
  });
  const resolved = (
    service: string,
    weight: number,
    answer: CompleteAnswer,
    outdated?: UnknownAnswer,
  ): ResolvedBackend => ({
    target: target(service, weight),
    found: answer,
    answer,
    ...(outdated === undefined ? {} : { outdated }),
  });
  const spec = gatewayUpstreamSpec.parse({ backends: [{ serviceRef: { name: 'web', port: 80 } }] });
  const build = (backends: readonly ResolvedBackend[]) =>
    buildUpstream(spec, { id: 'u', section: 'apisix' }, backends);
  const weights = (backends: readonly ResolvedBackend[]) =>
    build(backends).upstream.nodes.map(({ host, weight }) => `${host}=${weight}`);

  it('keeps the nodes and the share of that backend while the others change', () => {
    const before = [resolved('vm', 90, known('10.0.0.1')), resolved('pods', 10, known('10.0.1.1'))];
    const during = [resolved('vm', 90, known('10.0.0.1'), UNKNOWN), resolved('pods', 10, known('10.0.1.2'))];
    expect(weights(before)).toEqual(['10.0.0.1=9', '10.0.1.1=1']);
    expect(weights(during)).toEqual(['10.0.0.1=9', '10.0.1.2=1']);
    expect(build(during).action).toBe('write');
  });

  it('names the unknown backend', () => {
    expect(build([resolved('vm', 1, known('10.0.0.1'), UNKNOWN)]).resolvedRefs).toEqual({
      status: 'Unknown',
      reason: 'SourceUnavailable',
      message: UNKNOWN.message,
    });
  });

  it('reports nothing while the source restarts', () => {
    const begun = { ...UNKNOWN, beginning: true };
    expect(build([resolved('vm', 1, known('10.0.0.1'), begun)]).resolvedRefs.status).toBe('True');
  });

  it('waits if that backend has never answered', () => {
    const never: ResolvedBackend = { target: target('vm', 1), found: UNKNOWN };
    const backends = [never, resolved('pods', 1, known('10.0.1.1'))];
    expect(build(backends).action).toBe('wait');
    expect(lastAnswersOf(backends)).toEqual([{ ref: ref('pods'), answer: known('10.0.1.1') }]);
  });
});
