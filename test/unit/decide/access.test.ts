import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import type { LabelSelector } from '../../../src/api/label-selector.ts';
import type { NamespaceSelector } from '../../../src/api/namespace-selector.ts';
import { accessProblem, externalNameProblem } from '../../../src/decide/access.ts';
import { isNamespaceAllowed, matchesSelector, patternProblem } from '../../../src/decide/selectors.ts';
import { gatewayConnectionSpec, gatewayUpstreamSpec } from '../../support/catalog.ts';

const allowed = (rules: NamespaceSelector | undefined, name: string, labels: Record<string, string> = {}) =>
  isNamespaceAllowed(rules, { name, labels });

describe('isNamespaceAllowed', () => {
  it.each<[string, NamespaceSelector | undefined, string, boolean]>([
    ['allows no namespace if absent', undefined, 'default', false],
    ['allows no namespace without rules', {}, 'default', false],
    ['allows no namespace with all: false', { all: false }, 'default', false],
    ['allows every namespace with all: true', { all: true }, 'default', true],
    ['allows a listed name', { names: ['a', 'b'] }, 'b', true],
    ['denies a name that is not listed', { names: ['a', 'b'] }, 'c', false],
    ['does not treat a name as a pattern', { names: ['a.c'] }, 'abc', false],
    ['allows a match of the second pattern', { match: ['default', '^my-[a-z]+$'] }, 'my-shop', true],
    ['allows a match of the first pattern', { match: ['default', '^my-[a-z]+$'] }, 'default', true],
    ['denies a name that only begins with a match', { match: ['default'] }, 'default-2', false],
    ['denies a name that only ends with a match', { match: ['default'] }, 'my-default', false],
    ['matches each alternative against the whole name', { match: ['a|b'] }, 'ab', false],
    ['matches anchored alternatives against the whole name', { match: ['^a|b$'] }, 'a-b', false],
    ['denies a character outside the class', { match: ['^my-[a-z]+$'] }, 'my-1', false],
    ['matches no name with an empty pattern', { match: [''] }, 'a', false],
    ['allows no namespace with notMatch alone', { notMatch: ['x'] }, 'a', false],
    ['prefers notMatch to all', { all: true, notMatch: ['kube-.*'] }, 'kube-system', false],
    [
      'allows names that notMatch does not exclude',
      { all: true, notMatch: ['kube-.*'] },
      'my-kube-system',
      true,
    ],
    ['prefers notMatch to names', { names: ['a'], notMatch: ['a'] }, 'a', false],
    ['prefers notMatch to match', { match: ['a.*'], notMatch: ['ab'] }, 'ab', false],
    ['allows no namespace with a match that RE2 does not support', { match: ['(?=a)a'] }, 'a', false],
    [
      'denies every namespace with a notMatch that RE2 does not support',
      { all: true, notMatch: ['(?=b)b'] },
      'a',
      false,
    ],
    ['allows no namespace with a match that is too large', { match: ['(a{1,30}){1,30}'] }, 'a', false],
    [
      'denies every namespace with a notMatch that is too large',
      { all: true, notMatch: ['(b{1,30}){1,30}'] },
      'a',
      false,
    ],
    ['allows no namespace with a match that is invalid on its own', { match: ['a)|(?:.*'] }, 'b', false],
    [
      'denies every namespace with a notMatch that is invalid on its own',
      { all: true, notMatch: ['a)|(?:b'] },
      'c',
      false,
    ],
    ['uses the valid patterns beside an invalid one', { match: ['(', 'a'] }, 'a', true],
  ])('%s', (_, rules, name, expected) => {
    expect(allowed(rules, name)).toBe(expected);
  });

  it('allows the union of names, match and selector, minus notMatch', () => {
    const rules: NamespaceSelector = {
      names: ['n'],
      match: ['m.*'],
      selector: { matchLabels: { team: 'a' } },
      notMatch: ['.*-x'],
    };
    expect(allowed(rules, 'n')).toBe(true);
    expect(allowed(rules, 'm1')).toBe(true);
    expect(allowed(rules, 's', { team: 'a' })).toBe(true);
    expect(allowed(rules, 's', { team: 'b' })).toBe(false);
    expect(allowed(rules, 's-x', { team: 'a' })).toBe(false);
  });

  it('names each invalid pattern and the cause', () => {
    const problem = patternProblem({ match: ['a', '(?=a)a', '(a{9}){99}'], notMatch: ['b', 'a)|(?:b'] });
    expect(problem).toBe(
      [
        '(?=a)a cannot be used because it is not a valid RE2 regular expression',
        '(a{9}){99} cannot be used because its repetitions make it too large (1091 instructions, and the limit is 500): use + or * instead of large counts',
        'a)|(?:b cannot be used because it is not a valid RE2 regular expression',
      ].join('; '),
    );
    expect(patternProblem({ match: ['a'] })).toBeUndefined();
    expect(patternProblem(undefined)).toBeUndefined();
  });
});

describe('isNamespaceAllowed while the namespace is not read yet', () => {
  const unread = (rules: NamespaceSelector) => isNamespaceAllowed(rules, { name: 'shop', labels: undefined });
  const withoutLabel = { matchExpressions: [{ key: 'restricted', operator: 'DoesNotExist' as const }] };

  it.each<[string, NamespaceSelector, boolean | 'unknown']>([
    ['DoesNotExist', { selector: withoutLabel }, 'unknown'],
    [
      'NotIn',
      { selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['x'] }] } },
      'unknown',
    ],
    ['a label', { selector: { matchLabels: { team: 'a' } } }, 'unknown'],
    ['a selector that matches everything', { selector: {} }, 'unknown'],
    ['the name, whatever the labels are', { names: ['shop'], selector: withoutLabel }, true],
    ['a pattern, whatever the labels are', { match: ['s.*'], selector: withoutLabel }, true],
    ['all: true', { all: true }, true],
    ['notMatch, whatever the labels are', { selector: withoutLabel, notMatch: ['shop'] }, false],
    ['the absence of rules', {}, false],
    ['another name', { names: ['blog'] }, false],
  ])('decides by %s: %3$s', (_, rules, expected) => {
    expect(unread(rules)).toBe(expected);
  });
});

describe('matchesSelector', () => {
  const expression = (operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]) => ({
    matchExpressions: [{ key: 'team', operator, ...(values === undefined ? {} : { values }) }],
  });

  it.each<[string, LabelSelector, Record<string, string>, boolean]>([
    ['an empty selector matches everything', {}, {}, true],
    ['a label', { matchLabels: { team: 'a' } }, { team: 'a', x: 'y' }, true],
    ['a different value', { matchLabels: { team: 'a' } }, { team: 'b' }, false],
    ['a missing label', { matchLabels: { team: 'a' } }, {}, false],
    ['an empty value is not a missing label', { matchLabels: { team: '' } }, {}, false],
    ['all labels are required', { matchLabels: { team: 'a', tier: 'b' } }, { team: 'a' }, false],
    ['In', expression('In', ['a', 'b']), { team: 'b' }, true],
    ['In, different value', expression('In', ['a']), { team: 'b' }, false],
    ['In, no label', expression('In', ['a']), {}, false],
    ['NotIn', expression('NotIn', ['a']), { team: 'b' }, true],
    ['NotIn, same value', expression('NotIn', ['a']), { team: 'a' }, false],
    ['NotIn, no label', expression('NotIn', ['a']), {}, true],
    ['Exists', expression('Exists'), { team: '' }, true],
    ['Exists, no label', expression('Exists'), {}, false],
    ['DoesNotExist', expression('DoesNotExist'), {}, true],
    ['DoesNotExist, label present', expression('DoesNotExist'), { team: '' }, false],
    [
      'labels and expressions together',
      { matchLabels: { tier: 'b' }, ...expression('In', ['a']) },
      { tier: 'b', team: 'x' },
      false,
    ],
  ])('%s', (_, selector, labels, expected) => {
    expect(matchesSelector(selector, labels)).toBe(expected);
  });

  it('does not read inherited object properties as labels', () => {
    const selector: LabelSelector = { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] };
    expect(matchesSelector(selector, {})).toBe(false);
  });
});

describe('accessProblem', () => {
  const connection = (spec: Partial<z.input<typeof gatewayConnectionSpec>> = {}) => ({
    name: 'edge',
    section: 'apisix',
    spec: gatewayConnectionSpec.parse({
      type: 'APISIX',
      apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
      allowedNamespaces: { all: true },
      ...spec,
    }),
  });
  const service = { serviceRef: { name: 'web', port: 80 } };
  const upstream = (spec: Partial<z.input<typeof gatewayUpstreamSpec>> & { readonly apisix?: object } = {}) =>
    gatewayUpstreamSpec.parse({ backends: [service], ...spec });
  const shop = { name: 'shop', labels: {} };

  it('reports no problem for an allowed object', () => {
    expect(accessProblem(upstream(), shop, connection())).toBeUndefined();
  });

  it('names the namespace, the connection and the field to change', () => {
    const problem = accessProblem(upstream(), shop, connection({ allowedNamespaces: { names: ['a'] } }));
    expect(problem).toMatchObject({ status: 'False', reason: 'NamespaceNotAllowed' });
    expect(problem?.message).toMatch(/edge .* shop.*spec\.allowedNamespaces/);
  });

  it('is Unknown while the required labels of the namespace are not read yet', () => {
    const spec = { allowedNamespaces: { selector: { matchLabels: { team: 'a' } } } };
    const problem = accessProblem(upstream(), { name: 'shop', labels: undefined }, connection(spec));
    expect(problem).toMatchObject({ status: 'Unknown', reason: 'Pending' });
    expect(problem?.message).toMatch(/has not read namespace shop yet.*edge/);
  });

  it('allows no namespace if the connection does not set allowedNamespaces', () => {
    const spec = gatewayConnectionSpec.parse({
      type: 'APISIX',
      apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
    });
    expect(accessProblem(upstream(), shop, { name: 'edge', section: 'apisix', spec })?.reason).toBe(
      'NamespaceNotAllowed',
    );
  });

  it.each<[string, string, 'Prefixed' | 'Any' | undefined, string | undefined]>([
    ['shop.web', '', undefined, undefined],
    ['shop.w', '', 'Prefixed', undefined],
    ['shop.', '', 'Prefixed', 'IdNotAllowed'],
    ['shop', '', 'Prefixed', 'IdNotAllowed'],
    ['shopping.web', '', 'Prefixed', 'IdNotAllowed'],
    ['Shop.web', '', 'Prefixed', 'IdNotAllowed'],
    ['other.web', '', undefined, 'IdNotAllowed'],
    ['my.shop.web', '', 'Prefixed', 'IdNotAllowed'],
    ['gw-shop.web', 'gw-', 'Prefixed', undefined],
    ['shop.web', 'gw-', 'Prefixed', 'IdNotAllowed'],
    ['other.web', '', 'Any', undefined],
  ])('upstreamId %s with idPrefix "%s" and policy %s: %s', (upstreamId, idPrefix, upstreamIds, reason) => {
    const tenantPolicy = upstreamIds === undefined ? {} : { upstreamIds };
    const problem = accessProblem(upstream({ upstreamId }), shop, connection({ idPrefix, tenantPolicy }));
    expect(problem?.reason).toBe(reason);
    if (reason !== undefined) expect(problem?.message).toContain(`"${idPrefix}shop."`);
  });

  it('requires no prefix of a shortened default id', () => {
    const namespace = { name: 'n'.repeat(63), labels: {} };
    expect(accessProblem(upstream(), namespace, connection())).toBeUndefined();
  });

  const withHost = (host: string) => upstream({ backends: [service, { addresses: [{ host, port: 80 }] }] });

  it('denies addresses unless the connection allows them', () => {
    expect(accessProblem(withHost('203.0.113.1'), shop, connection())?.reason).toBe('StaticAddressesDenied');
    const open = connection({ tenantPolicy: { staticAddresses: 'Allow' } });
    expect(accessProblem(withHost('203.0.113.1'), shop, open)).toBeUndefined();
  });

  /** The current CRD rejects some of these; objects from an older CRD may still contain them. */
  const unchecked = (host: string) => {
    const spec = withHost('example.com');
    return {
      ...spec,
      backends: spec.backends.map((backend) =>
        backend.addresses === undefined
          ? backend
          : { ...backend, addresses: backend.addresses.map((address) => ({ ...address, host })) },
      ),
    };
  };

  it.each<[string, 'inside' | 'outside']>([
    ['web.other.svc.cluster.local', 'inside'],
    ['web.other.svc.cluster.local.', 'inside'],
    ['web.other.svc.cluster.local..', 'inside'],
    ['WEB.Other.SVC.Cluster.LOCAL', 'inside'],
    ['web.other.svc', 'inside'],
    ['web.other.svc.', 'inside'],
    ['web.other.SVC.', 'inside'],
    ['web-0.web.other.svc', 'inside'],
    ['_http._tcp.web.other.svc.cluster.local', 'inside'],
    ['web.other.svc.corp.example', 'inside'],
    ['10-0-0-1.other.pod.corp.example', 'inside'],
    ['2001-db8--1.other.pod.corp.example', 'inside'],
    ['web.pod.example.com', 'outside'],
    ['10-0-0-1.other.pod', 'inside'],
    ['10-0-0-1.other.Pod.', 'inside'],
    ['node-1.cluster.local.', 'inside'],
    ['10-0-0-1.other.pod.cluster.local', 'inside'],
    ['10-0-0-1.web.other.svc.cluster.local', 'inside'],
    ['svc.example.com', 'outside'],
    ['websvc', 'inside'],
    ['WEBSVC.', 'inside'],
    ['mysvc.example.com', 'outside'],
    ['web.example.com', 'outside'],
    ['cluster.local.example.com', 'outside'],
    ['203.0.113.1', 'outside'],
    ['2001:db8::1', 'outside'],
  ])('treats %s as %s the cluster, whatever the policy', (host, where) => {
    const open = connection({ tenantPolicy: { staticAddresses: 'Allow' } });
    const problem = accessProblem(unchecked(host), shop, open);
    expect(problem?.reason).toBe(where === 'inside' ? 'StaticAddressesDenied' : undefined);
    if (where === 'inside') expect(problem?.message).toContain(host);
  });

  it('recognizes a short cluster-internal name if the namespace exists', () => {
    const open = connection({ tenantPolicy: { staticAddresses: 'Allow' } });
    const problem = (host: string) =>
      accessProblem(withHost(host), shop, open, (name) => name === 'payments')?.reason;
    expect(problem('db.payments')).toBe('StaticAddressesDenied');
    expect(problem('DB.Payments')).toBe('StaticAddressesDenied');
    expect(problem('db.example')).toBeUndefined();
    expect(problem('db-0.db.payments')).toBe('StaticAddressesDenied');
    expect(problem('payments.example')).toBeUndefined();
  });

  it('names the denied address and the field that can allow it', () => {
    const open = { tenantPolicy: { staticAddresses: 'Allow' } } as const;
    expect(accessProblem(withHost('169.254.169.254'), shop, connection(open))).toEqual({
      status: 'False',
      reason: 'AddressNotAllowed',
      message:
        '169.254.169.254 is a link-local address: use another address, or ask the platform team to add it to spec.addresses.allow of the GatewayConnection',
    });
    const addresses = { allow: ['169.254.0.0/16'] };
    expect(
      accessProblem(withHost('169.254.169.254'), shop, connection({ ...open, addresses })),
    ).toBeUndefined();
  });

  describe('health probe ports', () => {
    const probed = (backend: object, active: object = { port: 10_250, method: 'POST', body: '{}' }) =>
      upstream({ backends: [backend as typeof service], healthCheck: { active } });
    const problem = (backend: object, spec: Parameters<typeof connection>[0] = {}, active?: object) =>
      accessProblem(probed(backend, active), shop, connection(spec));
    const by = (mode: string) => ({ ...service, addressing: { mode } });
    const elsewhere = { serviceRef: { name: 'web', namespace: 'bank', port: 80 } };

    it.each<[string, object, string]>([
      ['cluster nodes', by('Node'), 'cluster nodes'],
      ['a load balancer', by('LoadBalancer'), 'a load balancer'],
      ['Pods in another namespace', elsewhere, 'Pods in namespace bank'],
      [
        'Pods in another namespace by serviceName',
        { serviceName: 'bank/web:http' },
        'Pods in namespace bank',
      ],
    ])('are denied for %s', (_, backend, what) => {
      expect(problem(backend)).toEqual({
        status: 'False',
        reason: 'ProbePortDenied',
        message: `GatewayConnection edge does not allow health probes to port 10250 of ${what}: remove spec.healthCheck.active.port, so that the gateway probes the port that receives the traffic, or ask the platform team to set spec.tenantPolicy.probePorts to Any`,
      });
      expect(problem(backend, { tenantPolicy: { probePorts: 'Any' } })).toBeUndefined();
      // Without a port, the probe uses the node's own port.
      expect(problem(backend, {}, { path: '/healthz' })).toBeUndefined();
    });

    it('are denied if the connection sets addressing mode Node', () => {
      expect(problem(service, { addressing: { mode: 'Node' } })?.reason).toBe('ProbePortDenied');
      expect(problem(by('Pod'), { addressing: { mode: 'Node' } })).toBeUndefined();
    });

    it.each<[string, object]>([
      ['Pods in the same namespace', service],
      ['Pods in the same namespace by serviceName', { serviceName: 'shop/web:http' }],
      ['the cluster IP of a Service', by('ClusterIP')],
      ['the DNS name of a Service', by('DNS')],
    ])('are allowed for %s', (_, backend) => {
      expect(problem(backend)).toBeUndefined();
    });

    it('are allowed for static addresses, whose ports the tenant chooses', () => {
      const addresses = { addresses: [{ host: '203.0.113.1', port: 80 }] };
      expect(problem(addresses, { tenantPolicy: { staticAddresses: 'Allow' } })).toBeUndefined();
    });
  });

  describe('DNS suffixes', () => {
    const withSuffix = (dnsSuffix: string) =>
      upstream({ backends: [{ ...service, addressing: { mode: 'DNS', dnsSuffix } }] });
    const problem = (dnsSuffix: string, spec: Parameters<typeof connection>[0] = {}) =>
      accessProblem(withSuffix(dnsSuffix), shop, connection(spec))?.reason;
    const open = { tenantPolicy: { staticAddresses: 'Allow' } } as const;

    it.each([
      ['svc.cluster.local', undefined],
      ['', 'StaticAddressesDenied'],
      ['svc.k8s.example.com', 'StaticAddressesDenied'],
      ['example.com', 'StaticAddressesDenied'],
    ])('"%s" is %s if only the default suffix is allowed', (suffix, reason) => {
      expect(problem(suffix)).toBe(reason);
    });

    it('allows the suffix of the connection', () => {
      const dns = (dnsSuffix: string) => ({ addressing: { mode: 'DNS', dnsSuffix } }) as const;
      expect(problem('svc.k8s.example.com', dns('svc.k8s.example.com'))).toBeUndefined();
      expect(problem('', dns(''))).toBeUndefined();
      expect(problem('example.com', dns('svc.k8s.example.com'))).toBe('StaticAddressesDenied');
    });

    it.each([
      ['', undefined],
      ['svc', undefined],
      ['svc.k8s.example.com', undefined],
      ['example.com', undefined],
      ['other.svc.cluster.local', 'StaticAddressesDenied'],
      ['other.svc', 'StaticAddressesDenied'],
      ['svc.svc.cluster.local', 'StaticAddressesDenied'],
      ['pod.cluster.local', 'StaticAddressesDenied'],
      ['cluster.local', 'StaticAddressesDenied'],
    ])('"%s" is %s if static addresses are allowed', (suffix, reason) => {
      expect(problem(suffix, open)).toBe(reason);
    });
  });

  describe('external names of Services', () => {
    const ref = {
      source: 'Kubernetes',
      namespace: 'shop',
      name: 'db',
      port: { by: 'servicePort', port: 3306 },
      protocol: 'TCP',
    } as const;
    const problem = (host: string, staticAddresses: 'Allow' | 'Deny') =>
      externalNameProblem(
        ref,
        host,
        connection({ tenantPolicy: { staticAddresses } }),
        (name) => name === 'payments',
      );

    it.each([
      ['db.example.com', 'Allow', undefined],
      ['db.example.com', 'Deny', 'does not allow addresses outside the cluster'],
      ['db.payments.svc.cluster.local', 'Allow', 'cluster-internal name'],
      ['db.payments', 'Allow', 'cluster-internal name'],
      ['db-0.db.payments', 'Allow', 'cluster-internal name'],
      ['db', 'Allow', 'inside the cluster'],
    ] as const)('%s with policy %s', (host, policy, message) => {
      const found = problem(host, policy);
      if (message === undefined) expect(found).toBeUndefined();
      else {
        expect(found).toMatchObject({ state: 'notPermitted', reason: 'StaticAddressesDenied' });
        expect(found?.message).toContain(message);
      }
    });

    it.each(['localhost', '127.0.0.1', '2130706433', '127.1', '0x7f.1', 'metadata.google.internal'])(
      'denies %s even if static addresses are allowed',
      (host) => {
        expect(problem(host, 'Allow')).toMatchObject({
          state: 'notPermitted',
          reason: 'AddressNotAllowed',
          message: expect.stringContaining(`is of type ExternalName and points to ${host}, which `),
        });
      },
    );
  });
});

describe('patterns with catastrophic backtracking in JavaScript', () => {
  it.each([
    '^([a-z]+-?)+$',
    '(a+)+',
    '(a|a)*b',
    '^([a-z0-9]{1,20}-?)+$',
    '^(([a-z0-9]{1,5}){1,4}-?){1,3}$',
    '([a-z]{0,20}){0,9}-',
  ])('are evaluated: %s', (pattern) => {
    const name = `${'a'.repeat(62)}.`;
    expect(isNamespaceAllowed({ match: [pattern] }, { name, labels: {} })).toBe(false);
    expect(isNamespaceAllowed({ all: true, notMatch: [pattern] }, { name, labels: {} })).toBe(true);
  });
});
