import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import {
  hashedName,
  includesAll,
  isPortGone,
  judgePruning,
  memberNames,
  memberOf,
  type PruneInput,
  plainName,
  type SetPort,
  type SetService,
  selectPorts,
} from '../../../src/decide/upstream-set.ts';
import { gatewayUpstreamSetSpec, gatewayUpstreamSpec } from '../../support/catalog.ts';

const specOf = (input: Partial<z.input<typeof gatewayUpstreamSetSpec>> = {}) =>
  gatewayUpstreamSetSpec.parse({ namespaceSelector: { all: true }, ...input });

const tcp = (name: string, port: number) => ({ name, port, protocol: 'TCP' });

const service = (extra: Partial<SetService> = {}): SetService => ({
  namespace: 'shop',
  name: 'web',
  creationTimestamp: '2026-01-01T00:00:00Z',
  labels: { tier: 'front' },
  type: 'ClusterIP',
  ports: [tcp('http', 80), tcp('metrics', 9090)],
  ...extra,
});

const namespace = { name: 'shop', labels: { team: 'shop' } };

describe('what a set makes of a Service', () => {
  const labelled = (spec: Parameters<typeof specOf>[0], one = service()) =>
    selectPorts(specOf(spec), one, namespace)?.ports.map((port) => [plainName(port), port.port]);

  it.each<[string, Parameters<typeof specOf>[0], ReturnType<typeof labelled>]>([
    [
      'every port by default',
      {},
      [
        ['web-http', 'http'],
        ['web-metrics', 'metrics'],
      ],
    ],
    ['a port by name', { ports: ['metrics'] }, [['web-metrics', 'metrics']]],
    ['a port by number', { ports: [80, 443] }, [['web-http', 'http']]],
    ['no port where none is meant', { ports: [443] }, []],
    [
      'those of a namespace that is named',
      { namespaceSelector: { names: ['shop'] }, ports: [80] },
      [['web-http', 'http']],
    ],
    ['nothing of another namespace', { namespaceSelector: { names: ['blog'] } }, undefined],
    ['nothing of any namespace where none is meant', { namespaceSelector: {} }, undefined],
    [
      'nothing of a namespace with other labels',
      { namespaceSelector: { selector: { matchLabels: { team: 'blog' } } } },
      undefined,
    ],
    [
      'nothing of a Service with other labels',
      { serviceSelector: { matchLabels: { tier: 'back' } } },
      undefined,
    ],
    [
      'those of a Service with the labels',
      { serviceSelector: { matchLabels: { tier: 'front' } }, ports: ['http'] },
      [['web-http', 'http']],
    ],
  ])('%s', (_, spec, expected) => {
    expect(labelled(spec)).toEqual(expected);
  });

  it('refers by number to a port without name, and to one whose name serviceRef does not take', () => {
    const ports = [tcp('a-very-long-port-name', 8080), tcp('8443', 8443)];
    expect(labelled({}, service({ ports: [tcp('', 80)] }))).toEqual([['web-80', 80]]);
    expect(labelled({}, service({ ports }))).toEqual([
      ['web-a-very-long-port-name', 8080],
      ['web-8443', 8443],
    ]);
  });

  it.each([
    ['ExternalName', service({ type: 'ExternalName' }), undefined, 'ExternalName'],
    ['without ports', service({ ports: [] }), undefined, 'NoPorts'],
    [
      'for UDP',
      service({ ports: [{ name: 'dns', port: 53, protocol: 'UDP' }] }),
      'dns',
      'UnsupportedProtocol',
    ],
    ['for SCTP', service({ ports: [{ name: '', port: 9, protocol: 'SCTP' }] }), '9', 'UnsupportedProtocol'],
  ])('says what it cannot use of a Service %s', (_, one, port, reason) => {
    expect(selectPorts(specOf(), one, namespace)).toEqual({
      ports: [],
      problems: [{ service: 'shop/web', ...(port === undefined ? {} : { port }), reason }],
    });
  });

  it('uses UDP ports alone where the scheme is UDP', () => {
    const ports = [tcp('tcp', 53), { name: 'udp', port: 53, protocol: 'UDP' }];
    const spec = specOf({ template: { spec: { scheme: 'UDP' } } });
    const selected = selectPorts(spec, service({ ports }), namespace);
    expect(selected?.ports.map(({ label }) => label)).toEqual(['udp']);
    expect(selected?.problems.map(({ port }) => port)).toEqual(['tcp']);
  });
});

describe('names', () => {
  const port = (name: string, label: string, creationTimestamp = '2026-01-01T00:00:00Z'): SetPort => ({
    namespace: 'shop',
    service: name,
    creationTimestamp,
    label,
    port: label,
  });
  const older = port('a-b', 'c', '2025-01-01T00:00:00Z');
  const newer = port('a', 'b-c');

  it('are the Service and the port', () => {
    expect([...memberNames([port('web', 'http')], () => false).keys()]).toEqual(['web-http']);
  });

  it('of two that come to the same: the older Service keeps the plain one, in whatever order', () => {
    const expected = new Map([
      ['a-b-c', older],
      [hashedName(newer), newer],
    ]);
    expect(memberNames([older, newer], () => false)).toEqual(expected);
    expect(memberNames([newer, older], () => false)).toEqual(expected);
    expect(hashedName(newer)).toMatch(/^a-b-c-[0-9a-f]{8}$/);
    expect(hashedName(newer)).not.toBe(hashedName(older));
  });

  it('stay with whom they are: routes refer to them', () => {
    const held = (name: string, one: SetPort) => name === 'a-b-c' && one === newer;
    expect(memberNames([older, newer], held)).toEqual(
      new Map([
        ['a-b-c', newer],
        [hashedName(older), older],
      ]),
    );
    // The one with the hash keeps it when the other is gone.
    const alone = (name: string, one: SetPort) => name === hashedName(older) && one === older;
    expect([...memberNames([older], alone).keys()]).toEqual([hashedName(older)]);
  });

  it('are one for each port, and the same for any order', () => {
    const part = fc.stringMatching(/^[ab](-[ab])?$/);
    const ports = fc.uniqueArray(
      fc.record({ service: part, label: part, age: fc.integer({ min: 1, max: 3 }) }),
      { selector: (one) => `${one.service}/${one.label}`, minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(ports, (generated) => {
        const all = generated.map(({ service: name, label, age }) => port(name, label, `202${age}-01-01`));
        for (const group of Map.groupBy(all, plainName).values()) {
          const names = memberNames(group, () => false);
          expect(names.size).toBe(group.length);
          expect(names.has(plainName(group[0] ?? port('', '')))).toBe(true);
          expect(memberNames(group.toReversed(), () => false)).toEqual(names);
        }
      }),
    );
  });

  it('are ones that Kubernetes takes, at their longest too', () => {
    const longest = port('s'.repeat(63), 'p'.repeat(63));
    expect(hashedName(longest).length).toBeLessThanOrEqual(253);
  });
});

describe('a GatewayUpstream of a set', () => {
  const port: SetPort = { ...service(), service: 'web', label: 'http', port: 'http' };
  const spec = specOf({
    template: { metadata: { labels: { team: 'shop' } }, spec: { retries: 2, labels: { env: 'prod' } } },
  });
  const member = memberOf({ name: 'all', spec }, port, 'web-http');

  it('refers to its port and says all that the template says', () => {
    expect(member).toMatchObject({
      namespace: 'shop',
      name: 'web-http',
      labels: { team: 'shop', 'gatewayupstream.dev/set': 'all' },
      spec: {
        retries: 2,
        labels: { env: 'prod' },
        backends: [{ serviceRef: { name: 'web', port: 'http' } }],
      },
    });
    expect(member.spec).not.toHaveProperty('upstreamId');
    expect(gatewayUpstreamSpec.parse(member.spec)).toEqual(member.spec);
  });

  it('shows by its digest that the template said something else before', () => {
    const digest = (one: typeof member) => one.annotations['gatewayupstream.dev/template'];
    const less = memberOf({ name: 'all', spec: specOf() }, port, 'web-http');
    expect(includesAll(member.spec, less.spec)).toBe(true);
    expect(digest(less)).not.toBe(digest(member));
    expect(digest(memberOf({ name: 'all', spec }, port, 'web-http'))).toBe(digest(member));
  });

  it('is as it should be whatever else somebody added, and not when somebody changed it', () => {
    expect(includesAll({ ...member.spec, labels: { env: 'prod', more: 'yes' } }, member.spec)).toBe(true);
    expect(includesAll({ ...member.spec, retries: 3 }, member.spec)).toBe(false);
    expect(includesAll({ ...member.spec, backends: [] }, member.spec)).toBe(false);
    expect(includesAll(undefined, member.spec)).toBe(false);
  });

  it.each<[string, SetService | undefined, boolean]>([
    ['has it', service(), false],
    ['is gone', undefined, true],
    ['has another port', service({ ports: [tcp('https', 443)] }), true],
  ])('whose Service %s', (_, one, gone) => {
    expect(isPortGone(member.spec, one)).toBe(gone);
  });
});

describe('pruning', () => {
  const now = 1_000_000;
  const judge = (extra: Partial<PruneInput>) =>
    judgePruning({
      unwanted: 1,
      recent: 0,
      all: 100,
      maxPrunePercent: 20,
      since: undefined,
      acceptedUntil: undefined,
      now,
      ...extra,
    });

  it.each<[string, Partial<PruneInput>, 'free' | 'waits']>([
    ['a few', { unwanted: 20 }, 'free'],
    ['one too many', { unwanted: 21 }, 'waits'],
    ['one too many, one after the other', { unwanted: 1, recent: 20, all: 80 }, 'waits'],
    ['as many as may go within a minute', { unwanted: 1, recent: 19, all: 81 }, 'free'],
    ['the only one', { unwanted: 1, all: 1 }, 'free'],
    ['two of three', { unwanted: 2, all: 3 }, 'waits'],
    ['the second of three within a minute', { unwanted: 1, recent: 1, all: 2 }, 'waits'],
    ['all, where the guard is off', { unwanted: 100, maxPrunePercent: 100 }, 'free'],
    ['one, where none may go', { maxPrunePercent: 0 }, 'waits'],
    ['nothing', { unwanted: 0, since: now - 5000 }, 'free'],
    ['a few after a wait that has begun', { unwanted: 1, since: now - 5000 }, 'waits'],
  ])('of %s', (_, input, kind) => {
    expect(judge(input).kind).toBe(kind);
  });

  it('waits since it began, and until that is accepted', () => {
    expect(judge({ unwanted: 50 })).toEqual({ kind: 'waits', since: now });
    const since = now - 60_000;
    expect(judge({ unwanted: 50, since })).toEqual({ kind: 'waits', since });
    expect(judge({ unwanted: 50, since, acceptedUntil: since })).toEqual({ kind: 'accepted', since });
    expect(judge({ unwanted: 50, since, acceptedUntil: since - 1 })).toEqual({ kind: 'waits', since });
  });
});
