import { describe, expect, it, onTestFinished } from 'vitest';
import { builtInCatalog } from '../../../src/catalog.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { SecretFacts, ServiceRegistry } from '../../../src/model/objects.ts';
import type { RegistryServiceRef } from '../../../src/model/reference.ts';
import { aborted } from '../../../src/runtime/aborted.ts';
import { ServiceRegistries } from '../../../src/sources/registries.ts';
import type { RegistryDiscovery, RegistryType } from '../../../src/sources/registry.ts';
import type { SourceChange } from '../../../src/sources/source.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { quietLogger } from '../../support/registries/quiet-logger.ts';

const reportError = (error: unknown) => {
  throw error;
};

const refTo = (service: string): RegistryServiceRef => ({
  source: 'Registry',
  registry: 'vms',
  service,
  options: {},
});

function start() {
  const following = new Set<string>();
  const listeners = new Map<string, Set<(what: SourceChange) => void>>();
  const deleted: string[] = [];
  const registries = createStore<ServiceRegistry>({ indexes: {}, reportError });
  const secrets = createStore<SecretFacts>({ indexes: {}, reportError });
  const discovery: RegistryDiscovery = {
    type: 'Consul',
    run: aborted,
    key: ({ service }) => service,
    problem: () => undefined,
    subscribe({ service }, changed) {
      const known = listeners.get(service) ?? new Set();
      listeners.set(service, known.add(changed));
      following.add(service);
      const dispose = () => {
        known.delete(changed);
        if (known.size === 0) following.delete(service);
      };
      return { [Symbol.dispose]: dispose };
    },
    read: () => ({ state: 'known', endpoints: [], basis: '' }),
    departure: () => 'unknown',
    listedElsewhere: () => new Set(),
    facts() {
      throw new Error('not asked');
    },
  };
  const type = { type: 'Consul', section: 'consul', create: () => discovery, secretRefs: () => [] };
  const source = new ServiceRegistries({
    registries,
    secrets,
    operatorNamespace: 'operator',
    types: [type as unknown as RegistryType],
    instruments: {
      registryOpened: () => undefined,
      registryRequested: () => undefined,
      registryFailed: () => undefined,
      registryDeleted: (name) => void deleted.push(name),
    },
    clock: createFakeClock(),
    random: () => 0.5,
    log: quietLogger,
  });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  let version = 0;
  const registry = (spec: object, status: object = {}) => {
    version += 1;
    const object = builtInCatalog.registries?.transform({
      metadata: { name: 'vms', uid: 'vms-uid', resourceVersion: `${version}`, generation: 1 },
      spec: { type: 'Consul', consul: { servers: ['http://consul.example.com:8500'] }, ...spec },
      status,
    });
    if (object === undefined) throw new Error('no registry type is built in');
    registries.upsert(object);
    return object;
  };
  const follow = (
    namespace: string,
    service: string,
    changed: (what: SourceChange) => void = () => undefined,
  ) => source.subscribe(refTo(service), changed, namespace);
  const change = (service: string) => {
    for (const changed of listeners.get(service) ?? []) changed('instances');
  };
  return { following, deleted, registries, source, registry, follow, change };
}

describe('the services that one namespace follows', () => {
  it('are limited, without an effect on other namespaces', () => {
    const { following, source, registry, follow } = start();
    registry({ limits: { servicesPerNamespace: 2 } });
    for (const service of ['a', 'b', 'c', 'a']) follow('shop', service);
    follow('pay', 'd');
    expect([...following]).toEqual(['a', 'b', 'd']);
    expect(source.read(refTo('a'))).toMatchObject({ state: 'known' });
    expect(source.read(refTo('c'))).toMatchObject({
      state: 'unknown',
      reason: 'TooManyServices',
      message: expect.stringContaining('already refer to 2 services of ServiceRegistry vms'),
    });
    follow('pay', 'c');
    expect(source.read(refTo('c'))).toMatchObject({ state: 'known' });
  });

  it('make room for others once they are no longer used, or the limit is raised', () => {
    const { following, source, registry, follow } = start();
    registry({ limits: { servicesPerNamespace: 1 } });
    const users = [follow('shop', 'a'), follow('shop', 'a')];
    let changes = 0;
    const second = follow('shop', 'b', () => {
      changes += 1;
    });
    follow('shop', 'c');
    users[0]?.[Symbol.dispose]();
    expect(source.read(refTo('b'))).toMatchObject({ reason: 'TooManyServices' });
    users[1]?.[Symbol.dispose]();
    expect([...following]).toEqual(['b']);
    expect(changes).toBe(1);
    second[Symbol.dispose]();
    expect([...following]).toEqual(['c']);
    follow('shop', 'd');
    registry({ limits: { servicesPerNamespace: 2 } });
    expect([...following]).toEqual(['c', 'd']);
  });

  it('tell a namespace that has no place for them each change of the answer that it shares with another one', () => {
    const { following, source, registry, follow, change } = start();
    registry({ limits: { servicesPerNamespace: 1 } });
    const changes: SourceChange[] = [];
    const seen = () => changes.splice(0);
    const first = follow('shop', 'a');
    follow('shop', 'b', (what) => changes.push(what));
    expect(source.read(refTo('b'))).toMatchObject({ reason: 'TooManyServices' });

    const other = follow('pay', 'b');
    expect(seen()).toEqual(['source']);
    expect(source.read(refTo('b'))).toMatchObject({ state: 'known' });
    change('b');
    expect(seen()).toEqual(['instances']);

    other[Symbol.dispose]();
    expect(seen()).toEqual(['source']);
    expect([...following]).toEqual(['a']);
    expect(source.read(refTo('b'))).toMatchObject({ reason: 'TooManyServices' });

    const another = follow('pay', 'b');
    first[Symbol.dispose]();
    another[Symbol.dispose]();
    seen();
    change('b');
    expect(seen()).toEqual(['instances']);
    expect([...following]).toEqual(['b']);
  });

  it('stop waiting when the object that uses them is deleted', () => {
    const { following, registry, follow } = start();
    registry({ limits: { servicesPerNamespace: 1 } });
    const first = follow('shop', 'a');
    follow('shop', 'b')[Symbol.dispose]();
    first[Symbol.dispose]();
    expect([...following]).toEqual([]);
  });
});

describe('a ServiceRegistry', () => {
  it('concerns its users when its spec changes, not when its status does', () => {
    const { registry, follow } = start();
    registry({});
    let changes = 0;
    follow('shop', 'a', () => {
      changes += 1;
    });
    registry({}, { followedServices: 1 });
    expect(changes).toBe(0);
    registry({ allowedNamespaces: { all: true } });
    expect(changes).toBe(1);
  });

  it('has no metrics after it is deleted, even if its last spec was invalid', async () => {
    const { deleted, registries, registry } = start();
    registry({});
    const broken = registry({ consul: {} });
    await settle();
    deleted.length = 0;
    registries.remove(broken);
    await settle();
    expect(deleted).toEqual(['vms']);
  });
});
