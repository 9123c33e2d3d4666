import { describe, expect, it } from 'vitest';
import { accessProblem, adoptionProblem } from '../../../src/decide/access.ts';
import { backendTargets } from '../../../src/decide/backends.ts';
import { referenceProblem } from '../../../src/decide/grants.ts';
import { gatewayConnectionSpec, gatewayUpstreamSpec } from '../../support/catalog.ts';

const connection = (change: object = {}) => ({
  name: 'edge',
  section: 'apisix',
  spec: gatewayConnectionSpec.parse({
    type: 'APISIX',
    apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'k', key: 'admin-key' } },
    idPrefix: 'eu-',
    allowedNamespaces: { names: ['shop'] },
    ...change,
  }),
});

const own = { backends: [{ serviceRef: { name: 'web', port: 80 } }] };

/** The reason why `spec` in namespace shop is denied; undefined if it is allowed. */
function refusal(spec: object, { namespace = 'shop', policy = {} } = {}): string | undefined {
  const parsed = gatewayUpstreamSpec.safeParse({ ...own, ...spec });
  if (!parsed.success) return 'InvalidSpec';
  const isNamespace = (name: string) => ['shop', 'bank', 'kube-system'].includes(name);
  const facts = { name: namespace, labels: {} };
  const problem =
    accessProblem(parsed.data, facts, connection(policy), isNamespace) ??
    adoptionProblem(parsed.data, connection(policy), () => false);
  if (problem !== undefined) return problem.reason;
  return backendTargets(parsed.data, namespace).some(
    (target) =>
      target.kind === 'service' &&
      target.ref.namespace !== namespace &&
      referenceProblem(target.ref, namespace, { kind: 'listed', grants: [] }) !== undefined,
  )
    ? 'RefNotPermitted'
    : undefined;
}

const service = (ref: object) => ({ backends: [{ serviceRef: { port: 80, ...ref } }] });
const address = (host: string) => ({ backends: [{ addresses: [{ host, port: 80 }] }] });
const adoption = { tenantPolicy: { adoption: 'Allow' } };
const allowed = { tenantPolicy: { upstreamIds: 'Any', staticAddresses: 'Allow' } };

describe('every field that could refer to another tenant', () => {
  it('allows the tenant its own resources', () => {
    expect(refusal({})).toBeUndefined();
    expect(refusal({ upstreamId: 'eu-shop.web' })).toBeUndefined();
    expect(refusal(service({ name: 'web', namespace: 'shop' }))).toBeUndefined();
    expect(refusal({ backends: [{ serviceName: 'shop/web:http' }] })).toBeUndefined();
    expect(refusal(address('192.0.2.1'), { policy: allowed })).toBeUndefined();
    expect(refusal({ manage: 'Nodes' }, { policy: adoption })).toBeUndefined();
    expect(refusal({ adoptionPolicy: 'IfUnowned' }, { policy: adoption })).toBeUndefined();
  });

  it.each<[string, object, string]>([
    ['the id of another namespace', { upstreamId: 'eu-bank.web' }, 'IdNotAllowed'],
    ['an id with another prefix', { upstreamId: 'shop.web' }, 'IdNotAllowed'],
    ['an id of a namespace with a longer name', { upstreamId: 'eu-shop2.web' }, 'IdNotAllowed'],
    ['the prefix alone', { upstreamId: 'eu-shop.' }, 'IdNotAllowed'],
    ['a path', { upstreamId: 'eu-shop./../eu-bank.web' }, 'InvalidSpec'],
    ['an id with a query', { upstreamId: 'eu-shop.a?force=true' }, 'InvalidSpec'],
    ['an encoded path', { upstreamId: 'eu-shop.%2e%2e%2feu-bank.web' }, 'InvalidSpec'],
    ['a Service in another namespace', service({ name: 'web', namespace: 'bank' }), 'RefNotPermitted'],
    [
      'a serviceName in another namespace',
      { backends: [{ serviceName: 'bank/web:http' }] },
      'RefNotPermitted',
    ],
    ['a path as a Service', service({ name: '../bank/web' }), 'InvalidSpec'],
    ['a path as a namespace', service({ name: 'web', namespace: 'shop/../bank' }), 'InvalidSpec'],
    ['a path as serviceName', { backends: [{ serviceName: 'shop/../bank/web:http' }] }, 'InvalidSpec'],
    ['an address', address('192.0.2.1'), 'StaticAddressesDenied'],
    ['the nodes of an upstream of another client', { manage: 'Nodes' }, 'AdoptionDenied'],
    ['an unowned upstream', { adoptionPolicy: 'IfUnowned' }, 'AdoptionDenied'],
    [
      'the port of the kubelet',
      {
        backends: [{ serviceRef: { name: 'web', port: 80 }, addressing: { mode: 'Node' } }],
        healthCheck: { active: { port: 10_250, method: 'POST', path: '/run/shop/web/main', body: 'cmd=id' } },
      },
      'ProbePortDenied',
    ],
    ['a path as a connection', { connectionRef: { name: '../secrets/k' } }, 'InvalidSpec'],
  ])('denies %s', (_what, spec, reason) => {
    expect(refusal(spec)).toBe(reason);
  });

  it.each(['web.bank.svc', 'web.bank.svc.cluster.local', 'WEB.BANK.SVC', 'web.bank', '10-0-0-1.bank.pod'])(
    'denies the cluster-internal name %s even if addresses are allowed',
    (host) => {
      expect(refusal(address(host), { policy: allowed })).toBe('StaticAddressesDenied');
    },
  );

  it('denies everything if the connection does not allow the namespace', () => {
    expect(refusal({}, { namespace: 'bank' })).toBe('NamespaceNotAllowed');
  });
});
