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

describe('selectPorts', () => {
  const labeled = (spec: Parameters<typeof specOf>[0], one = service()) =>
    selectPorts(specOf(spec), one, namespace)?.ports.map((port) => [plainName(port), port.port]);

  it.each<[string, Parameters<typeof specOf>[0], ReturnType<typeof labeled>]>([
    [
      'selects every port by default',
      {},
      [
        ['web-http', 'http'],
        ['web-metrics', 'metrics'],
      ],
    ],
    ['selects a port by name', { ports: ['metrics'] }, [['web-metrics', 'metrics']]],
    ['selects a port by number', { ports: [80, 443] }, [['web-http', 'http']]],
    ['selects no port if none matches', { ports: [443] }, []],
    [
      'selects Services in a named namespace',
      { namespaceSelector: { names: ['shop'] }, ports: [80] },
      [['web-http', 'http']],
    ],
    ['selects nothing in another namespace', { namespaceSelector: { names: ['blog'] } }, undefined],
    ['selects nothing with an empty namespaceSelector', { namespaceSelector: {} }, undefined],
    [
      'selects nothing in a namespace with other labels',
      { namespaceSelector: { selector: { matchLabels: { team: 'blog' } } } },
      undefined,
    ],
    [
      'selects no Service with other labels',
      { serviceSelector: { matchLabels: { tier: 'back' } } },
      undefined,
    ],
    [
      'selects a Service with the labels',
      { serviceSelector: { matchLabels: { tier: 'front' } }, ports: ['http'] },
      [['web-http', 'http']],
    ],
  ])('%s', (_, spec, expected) => {
    expect(labeled(spec)).toEqual(expected);
  });

  it('references a port by number if it has no name, or a name that serviceRef does not accept', () => {
    const ports = [tcp('a-very-long-port-name', 8080), tcp('8443', 8443)];
    expect(labeled({}, service({ ports: [tcp('', 80)] }))).toEqual([['web-80', 80]]);
    expect(labeled({}, service({ ports }))).toEqual([
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
  ])('reports the problem of a Service %s', (_, one, port, reason) => {
    expect(selectPorts(specOf(), one, namespace)).toEqual({
      ports: [],
      problems: [{ service: 'shop/web', ...(port === undefined ? {} : { port }), reason }],
    });
  });

  it('selects only UDP ports with scheme UDP', () => {
    const ports = [tcp('tcp', 53), { name: 'udp', port: 53, protocol: 'UDP' }];
    const spec = specOf({ template: { spec: { scheme: 'UDP' } } });
    const selected = selectPorts(spec, service({ ports }), namespace);
    expect(selected?.ports.map(({ label }) => label)).toEqual(['udp']);
    expect(selected?.problems.map(({ port }) => port)).toEqual(['tcp']);
  });
});

describe('member names', () => {
  const port = (name: string, label: string, creationTimestamp = '2026-01-01T00:00:00Z'): SetPort => ({
    namespace: 'shop',
    service: name,
    creationTimestamp,
    label,
    port: label,
  });
  const older = port('a-b', 'c', '2025-01-01T00:00:00Z');
  const newer = port('a', 'b-c');

  it('consist of the Service and the port', () => {
    expect([...memberNames([port('web', 'http')], () => false).keys()]).toEqual(['web-http']);
  });

  it('give a plain name in conflict to the older Service, whatever the order', () => {
    const expected = new Map([
      ['a-b-c', older],
      [hashedName(newer), newer],
    ]);
    expect(memberNames([older, newer], () => false)).toEqual(expected);
    expect(memberNames([newer, older], () => false)).toEqual(expected);
    expect(hashedName(newer)).toMatch(/^a-b-c-[0-9a-f]{8}$/);
    expect(hashedName(newer)).not.toBe(hashedName(older));
  });

  it('do not change once assigned, because routes refer to them', () => {
    const hasName = (name: string, one: SetPort) => name === 'a-b-c' && one === newer;
    expect(memberNames([older, newer], hasName)).toEqual(
      new Map([
        ['a-b-c', newer],
        [hashedName(older), older],
      ]),
    );
    // A port keeps its hashed name after the conflict is resolved.
    const alone = (name: string, one: SetPort) => name === hashedName(older) && one === older;
    expect([...memberNames([older], alone).keys()]).toEqual([hashedName(older)]);
  });

  it('are unique per port and do not depend on the order', () => {
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

  it('are valid in Kubernetes, even at the maximum length', () => {
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

  it('references its port and includes the template', () => {
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

  it('has another digest after the template changes', () => {
    const digest = (one: typeof member) => one.annotations['gatewayupstream.dev/template'];
    const less = memberOf({ name: 'all', spec: specOf() }, port, 'web-http');
    expect(includesAll(member.spec, less.spec)).toBe(true);
    expect(digest(less)).not.toBe(digest(member));
    expect(digest(memberOf({ name: 'all', spec }, port, 'web-http'))).toBe(digest(member));
  });

  it('is up to date with additional fields, but not with changed fields', () => {
    expect(includesAll({ ...member.spec, labels: { env: 'prod', more: 'yes' } }, member.spec)).toBe(true);
    expect(includesAll({ ...member.spec, retries: 3 }, member.spec)).toBe(false);
    expect(includesAll({ ...member.spec, backends: [] }, member.spec)).toBe(false);
    expect(includesAll(undefined, member.spec)).toBe(false);
  });

  it.each<[string, SetService | undefined, boolean]>([
    ['has the port', service(), false],
    ['does not exist', undefined, true],
    ['has another port', service({ ports: [tcp('https', 443)] }), true],
  ])('detects whether its port exists if the Service %s', (_, one, gone) => {
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
    ['a few members', { unwanted: 20 }, 'free'],
    ['one too many', { unwanted: 21 }, 'waits'],
    ['one too many, one after another', { unwanted: 1, recent: 20, all: 80 }, 'waits'],
    ['as many as allowed within a minute', { unwanted: 1, recent: 19, all: 81 }, 'free'],
    ['the only member', { unwanted: 1, all: 1 }, 'free'],
    ['two of three', { unwanted: 2, all: 3 }, 'waits'],
    ['the second of three within a minute', { unwanted: 1, recent: 1, all: 2 }, 'waits'],
    ['all members with maxPrunePercent 100', { unwanted: 100, maxPrunePercent: 100 }, 'free'],
    ['one member with maxPrunePercent 0', { maxPrunePercent: 0 }, 'waits'],
    ['nothing', { unwanted: 0, since: now - 5000 }, 'free'],
    ['a few members during a wait', { unwanted: 1, since: now - 5000 }, 'waits'],
  ])('of %s: %3$s', (_, input, kind) => {
    expect(judge(input).kind).toBe(kind);
  });

  it('waits from its start until it is accepted', () => {
    expect(judge({ unwanted: 50 })).toEqual({ kind: 'waits', since: now });
    const since = now - 60_000;
    expect(judge({ unwanted: 50, since })).toEqual({ kind: 'waits', since });
    expect(judge({ unwanted: 50, since, acceptedUntil: since })).toEqual({ kind: 'accepted', since });
    expect(judge({ unwanted: 50, since, acceptedUntil: since - 1 })).toEqual({ kind: 'waits', since });
  });
});
