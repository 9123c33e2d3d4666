import { RE2JS } from 're2js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { NAMESPACE_PLACEHOLDER } from '../../../src/api/service-pattern.ts';
import type { ServiceRegistrySpec } from '../../../src/api/service-registry.ts';
import { planStore } from '../../../src/cli/plan/kinds.ts';
import { registryAccess } from '../../../src/decide/registries.ts';
import type { NamespaceStored, Parsed, ServiceRegistry } from '../../../src/model/objects.ts';
import { serviceRegistrySpec } from '../../support/catalog.ts';

const stored = (name: string) => ({ namespace: '', name, uid: name, resourceVersion: '1' });

const registry = (name: string, spec: Parsed<ServiceRegistrySpec>): ServiceRegistry => ({
  ...stored(name),
  generation: 1,
  creationTimestamp: '',
  deletionTimestamp: undefined,
  finalizers: [],
  spec,
  status: undefined,
});

const namespaceNamed = (name: string, labels: NamespaceStored['labels'] = {}): NamespaceStored => ({
  ...stored(name),
  labels,
  terminating: false,
});

interface Case {
  readonly spec?: object;
  readonly name?: string;
  readonly invalid?: string;
  readonly namespace?: string;
  readonly service?: string;
  readonly options?: object;
  readonly allowedRegistries?: readonly string[];
  readonly state?: 'synced' | 'syncing';
}

function access({
  spec = {},
  name = 'vms',
  invalid,
  namespace = 'shop',
  service = 'web',
  options = {},
  allowedRegistries = ['vms', 'gone'],
  state = 'synced',
}: Case) {
  const parsed = serviceRegistrySpec.parse({
    type: 'Consul',
    consul: { servers: ['http://consul.example.com:8500'] },
    allowedNamespaces: { all: true },
    ...spec,
  });
  return registryAccess(
    {
      registries: planStore(
        {},
        [
          registry(
            'vms',
            invalid === undefined ? { ok: true, value: parsed } : { ok: false, message: invalid },
          ),
        ],
        { state },
      ),
      namespaces: planStore({}, [namespaceNamed('shop', { team: 'a' })], { state: 'synced' }),
    },
    { source: 'Registry', registry: name, service, options: { ...options } },
    { namespace, connection: 'default', allowedRegistries },
  );
}

/** Asks one ServiceRegistry again and again. */
function accessBy(spec: object) {
  const parsed = serviceRegistrySpec.parse({
    type: 'Consul',
    consul: { servers: ['http://consul.example.com:8500'] },
    allowedNamespaces: { all: true },
    ...spec,
  });
  const snapshot = {
    registries: planStore({}, [registry('vms', { ok: true, value: parsed })], { state: 'synced' }),
    namespaces: planStore({}, [namespaceNamed('shop'), namespaceNamed('bank')], { state: 'synced' }),
  };
  return (namespace: string, service: string) =>
    registryAccess(
      snapshot,
      { source: 'Registry', registry: 'vms', service, options: {} },
      { namespace, connection: 'default', allowedRegistries: ['vms'] },
    ).state;
}

it('permits a service of a registry that connection and registry allow', () => {
  expect(access({})).toMatchObject({ state: 'permitted', registry: { type: 'Consul', vanishedHold: '90s' } });
});

describe('denies', () => {
  it.each<[string, Case, string, string]>([
    [
      'a registry that the connection does not list',
      { allowedRegistries: ['other'] },
      'RegistryNotAllowed',
      'GatewayConnection default does not allow ServiceRegistry vms: ask the platform team to add it to spec.allowedRegistries',
    ],
    [
      'a registry that does not exist and that the connection does not list',
      { name: 'elsewhere' },
      'RegistryNotAllowed',
      'GatewayConnection default does not allow ServiceRegistry elsewhere: ask the platform team to add it to spec.allowedRegistries',
    ],
    [
      'a namespace that the registry does not allow',
      { spec: { allowedNamespaces: { names: ['other'] } } },
      'RegistryNotAllowed',
      'ServiceRegistry vms does not allow namespace shop: ask the platform team to add it to spec.allowedNamespaces',
    ],
    [
      'every namespace without allowedNamespaces',
      { spec: { allowedNamespaces: undefined } },
      'RegistryNotAllowed',
      'ServiceRegistry vms does not allow namespace shop: ask the platform team to add it to spec.allowedNamespaces',
    ],
    [
      'a service that no pattern allows',
      { spec: { tenantPolicy: { services: ['api', `^${NAMESPACE_PLACEHOLDER}[.].+$`] } } },
      'RegistryServiceNotAllowed',
      'ServiceRegistry vms does not allow namespace shop to use service web: use another service, or ask the platform team to add a pattern to spec.tenantPolicy.services',
    ],
    [
      'every service with an empty list',
      { spec: { tenantPolicy: { services: [] } } },
      'RegistryServiceNotAllowed',
      'ServiceRegistry vms does not allow namespace shop to use service web: use another service, or ask the platform team to add a pattern to spec.tenantPolicy.services',
    ],
  ])('%s', (_, given, reason, message) => {
    expect(access(given)).toEqual({ state: 'notPermitted', reason, message });
  });

  it('every registry without allowedRegistries', () => {
    const found = registryAccess(
      {
        registries: planStore({}, [], { state: 'synced' }),
        namespaces: planStore({}, [], { state: 'synced' }),
      },
      { source: 'Registry', registry: 'vms', service: 'web', options: {} },
      { namespace: 'shop', connection: 'default', allowedRegistries: undefined },
    );
    expect(found).toMatchObject({ state: 'notPermitted', reason: 'RegistryNotAllowed' });
  });
});

describe('tenantPolicy.services', () => {
  it.each<[pattern: string, service: string, allowed: boolean]>([
    ['web', 'web', true],
    ['web', 'web2', false],
    ['web', 'my-web', false],
    ['web|api', 'api', true],
    ['.*', 'anything:at@all', true],
    [`${NAMESPACE_PLACEHOLDER}-web`, 'shop-web', true],
    [`${NAMESPACE_PLACEHOLDER}-web`, 'other-web', false],
    [`${NAMESPACE_PLACEHOLDER}-.+`, 'shop-', false],
    [`${NAMESPACE_PLACEHOLDER}*`, 'sho', false],
    [`(${NAMESPACE_PLACEHOLDER}|shared)-api`, 'shared-api', true],
    [
      `providers:com.example.${NAMESPACE_PLACEHOLDER}.[A-Z][a-z]+:1.0`,
      'providers:com.example.shop.Cart:1.0',
      true,
    ],
    ['a.b', 'axb', true],
    // The separator of the examples: a name of a namespace may contain "-", but not ".".
    [`^${NAMESPACE_PLACEHOLDER}[.].+$`, 'shop.web', true],
    [`^${NAMESPACE_PLACEHOLDER}[.].+$`, 'shop-b.web', false],
  ])('%s for service %s: %s', (pattern, service, allowed) => {
    expect(access({ service, spec: { tenantPolicy: { services: [pattern] } } }).state).toBe(
      allowed ? 'permitted' : 'notPermitted',
    );
  });

  it('are compiled once for a namespace, whatever the number of services', () => {
    const compile = vi.spyOn(RE2JS, 'compile');
    onTestFinished(() => compile.mockRestore());
    const services = Array.from({ length: 32 }, (_, at) => `${NAMESPACE_PLACEHOLDER}[.]pattern-${at}`);
    for (let at = 0; at < 100; at += 1) {
      // As after each change of the status, which makes a new object.
      const may = accessBy({ tenantPolicy: { services: [...services] } });
      expect(may('shop', `unknown-${at}`)).toBe('notPermitted');
      expect(may('bank', `bank.pattern-${at % 32}`)).toBe('permitted');
      expect(may('shop', `bank.pattern-${at % 32}`)).toBe('notPermitted');
    }
    expect(compile).toHaveBeenCalledTimes(64);
  });

  it('allow by one usable pattern although another cannot be used', () => {
    const huge = '(a{60}){60}';
    const services = [huge, 'web'];
    expect(access({ spec: { tenantPolicy: { services } } }).state).toBe('permitted');
    expect(access({ service: 'api', spec: { tenantPolicy: { services } } })).toMatchObject({
      state: 'unknown',
      reason: 'RegistryNotFound',
      message: expect.stringContaining(`spec.tenantPolicy.services: ${huge} cannot be used because`),
    });
  });
});

describe('keeps the nodes with', () => {
  it.each<[string, Case, string | undefined, string]>([
    [
      'a registry that does not exist',
      { name: 'gone' },
      'RegistryNotFound',
      "ServiceRegistry gone cannot be used (it does not exist: create it, or correct registryRef): the gateway's current nodes are unchanged",
    ],
    [
      'a registry whose spec is not valid',
      { invalid: 'consul is required' },
      'RegistryNotFound',
      "ServiceRegistry vms cannot be used (its spec is not valid: consul is required): the gateway's current nodes are unchanged",
    ],
    [
      'options for another type of registry',
      { options: { nacos: { group: 'DEFAULT_GROUP' } } },
      'RegistryTypeMismatch',
      "ServiceRegistry vms cannot be used (it is of type Consul: remove nacos from the backend, or correct registryRef): the gateway's current nodes are unchanged",
    ],
    [
      'a namespace whose labels are not read',
      { namespace: 'new', spec: { allowedNamespaces: { selector: { matchLabels: { team: 'a' } } } } },
      undefined,
      "ServiceRegistry vms cannot be used (the operator has not read namespace new yet, and the registry selects namespaces by label): the gateway's current nodes are unchanged",
    ],
    [
      'registries that are not listed',
      { state: 'syncing' },
      undefined,
      "ServiceRegistries are not listed yet: the gateway's current configuration is unchanged",
    ],
  ])('%s', (_, given, reason, message) => {
    const found = access(given);
    expect(found).toMatchObject({ state: 'unknown', message });
    expect('reason' in found ? found.reason : undefined).toBe(reason);
  });

  it('options for the type of the registry', () => {
    expect(access({ options: { consul: { tags: ['a'] } } }).state).toBe('permitted');
  });
});

it('denies a namespace before it compares types, so that a wrong option keeps no node', () => {
  expect(access({ spec: { allowedNamespaces: { names: ['other'] } }, options: { nacos: {} } }).state).toBe(
    'notPermitted',
  );
  expect(access({ spec: { tenantPolicy: { services: ['api'] } }, options: { nacos: {} } }).state).toBe(
    'notPermitted',
  );
});
