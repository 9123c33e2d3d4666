import { expect, it, onTestFinished } from 'vitest';
import { parseDocuments } from '../../../src/cli/plan/read-files.ts';
import { Watches, type WatchesDeps } from '../../../src/engine/watches.ts';
import { transformNamespace } from '../../../src/kube/objects.ts';
import type { Store } from '../../../src/kube/store.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import { admit, storesOf } from '../../support/catalog.ts';

const service = (name: string, externalName: string) => `
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec: {type: ExternalName, externalName: ${externalName}, ports: [{port: 80}]}`;

const upstream = (name: string) => `
---
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: ${name}, namespace: shop}
spec:
  backends: [{serviceRef: {name: ${name}, port: 80}}]`;

const YAML = `
apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayConnection
metadata: {name: default}
spec:
  type: APISIX
  apisix: {adminUrl: 'http://127.0.0.1:9180', adminKeySecretRef: {name: apisix-admin}}
  allowedNamespaces: {all: true}
  tenantPolicy: {staticAddresses: Allow}
${service('inside', 'cms.bank')}${service('outside', 'cms.example')}${service('unused', 'cms.bank')}
${upstream('inside')}${upstream('outside')}`;

it('reconciles only objects whose Services have a host name that may refer to the new namespace', () => {
  const stores = storesOf(admit(parseDocuments(YAML, 'scene'), 0).objects, []);
  const woken: string[] = [];
  const queue = {
    addUpstream: ({ name }: GatewayUpstream) => void woken.push(name),
    addConnection: () => undefined,
  };
  const unusedParts = new Proxy({}, { get: () => () => ({ [Symbol.dispose]: () => undefined }) });
  const deps = new Proxy(
    { ...stores, queue },
    {
      get: (parts, name) =>
        Reflect.get(parts, name) ?? (name === 'nodes' || name === 'registries' ? undefined : unusedParts),
    },
  ) as unknown as WatchesDeps;
  const listening = new Watches(deps).listen();
  onTestFinished(() => listening[Symbol.dispose]());
  const come = (name: string) => {
    woken.length = 0;
    const namespace = transformNamespace({ metadata: { name, uid: name, resourceVersion: '1' } });
    if (namespace === undefined) throw new Error('no namespace');
    (stores.namespaces as Store<typeof namespace>).upsert(namespace);
    return woken;
  };
  expect(come('bank')).toEqual(['inside']);
  expect(come('somewhere')).toEqual([]);
});
