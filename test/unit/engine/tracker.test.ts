import { expect, it } from 'vitest';
import { parseDocuments } from '../../../src/cli/plan/read-files.ts';
import { IdConflicts } from '../../../src/decide/id-conflicts.ts';
import { ObjectStates } from '../../../src/engine/object-state.ts';
import { Tracker } from '../../../src/engine/tracker.ts';
import { Pace } from '../../../src/runtime/pace.ts';
import { combineSources } from '../../../src/sources/sources.ts';
import { admit, storesOf } from '../../support/catalog.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { ScriptedRegistry } from '../../support/scripted-registry.ts';

interface Scene {
  readonly connection?: object;
  readonly registry?: object;
  readonly connectionName?: string;
  readonly registryName?: string;
}

/** The services that are followed for an object in namespace `shop` that refers to the service `web`. */
function followed({ connection = {}, registry = {}, connectionName = 'main', registryName = 'vms' }: Scene) {
  const yaml = `
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayConnection
metadata: {name: main}
spec: ${JSON.stringify({
    type: 'APISIX',
    apisix: { adminUrl: 'http://127.0.0.1:9180', adminKeySecretRef: { name: 'apisix-admin' } },
    allowedNamespaces: { all: true },
    allowedRegistries: ['vms'],
    ...connection,
  })}
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: ServiceRegistry
metadata: {name: vms}
spec: ${JSON.stringify({
    type: 'Consul',
    consul: { servers: ['http://127.0.0.1:8500'] },
    allowedNamespaces: { all: true },
    ...registry,
  })}
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: orders, namespace: shop}
spec:
  connectionRef: {name: ${connectionName}}
  backends: [{registryRef: {name: ${registryName}}, service: web}]`;
  const stores = storesOf(admit(parseDocuments(yaml, 'scene'), 0).objects, []);
  const clock = createFakeClock();
  const source = new ScriptedRegistry();
  const tracker = new Tracker({
    ...stores,
    states: new ObjectStates(clock),
    source: combineSources({ Registry: source }),
    conflicts: new IdConflicts(),
    verifier: { forget: () => undefined },
    queue: { addKey: () => undefined },
    pace: new Pace(clock),
    clock,
  });
  for (const object of stores.upstreams.list()) tracker.track(object);
  return [...source.followed];
}

it('follows a service that the connection and the registry allow', () => {
  expect(followed({})).toEqual(['web']);
});

it.each<[string, Scene]>([
  ['the connection does not exist', { connectionName: 'none' }],
  ['the connection does not allow the namespace', { connection: { allowedNamespaces: { names: ['bank'] } } }],
  ['the connection does not allow the registry', { connection: { allowedRegistries: ['other'] } }],
  ['the connection allows no registry', { connection: { allowedRegistries: undefined } }],
  ['the registry does not exist', { registryName: 'none', connection: { allowedRegistries: ['none'] } }],
  ['the registry does not allow the namespace', { registry: { allowedNamespaces: { names: ['bank'] } } }],
  ['the registry allows no namespace', { registry: { allowedNamespaces: undefined } }],
  ['the registry does not allow the service', { registry: { tenantPolicy: { services: ['orders'] } } }],
])('does not follow a service while %s', (_, scene) => {
  expect(followed(scene)).toEqual([]);
});
